"""How many requests a second are answered by two writes, a header and a body?

What web servers do: `write(header)`, then `write(body)`. A loop may send two packets, or wait and
join them.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop

from network import BACKLOG, Server, ask_network, network_command_line, tcp_words

HEADER = b"h" * 128
BODY = b"b" * 1024


class HeaderAndBody(asyncio.Protocol):
    """Answers each piece of data, which is one whole request, by two writes."""

    __slots__ = ("transport",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(HEADER)  # type: ignore[attr-defined]
        self.transport.write(BODY)  # type: ignore[attr-defined]


async def start(loop: AbstractEventLoop, _path: str) -> Server:
    server = await loop.create_server(HeaderAndBody, "127.0.0.1", 0, backlog=BACKLOG)
    return tcp_words(server), server


if __name__ == "__main__":
    options = network_command_line(__doc__).parse_args()
    ask_network(options, start, "--answer", len(HEADER) + len(BODY))
