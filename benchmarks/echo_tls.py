"""How many messages a second does an echo server answer over TLS?

The client is `loadgen --tls`, which speaks through OpenSSL as the server's Python does. Nothing is
set on either side, so they agree on TLS 1.3 with the first cipher of that library.
"""

from __future__ import annotations

import ssl
from asyncio import AbstractEventLoop

from network import BACKLOG, HERE, Echo, Server, ask_network, network_command_line, tcp_words

CERTIFICATE = HERE / "certificate.pem"
"""A key on the curve P-256, and a certificate for localhost that it has signed itself."""


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


async def start(loop: AbstractEventLoop, _path: str) -> Server:
    server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=server_context(), backlog=BACKLOG)
    return tcp_words(server), server


if __name__ == "__main__":
    ask_network(network_command_line(__doc__).parse_args(), start, "--tls")
