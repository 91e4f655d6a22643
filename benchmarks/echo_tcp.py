"""How many messages a second does a TCP echo server answer?

`--style protocol` serves with an `asyncio.Protocol`, `buffered` with a `BufferedProtocol`,
`streams` with a `StreamReader` and a `StreamWriter`, and `lines` with these too, but line by line:
a message is then made of lines of `--line` bytes.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from contextlib import suppress

from harness import primitives
from network import BACKLOG, Echo, Server, ask_network, network_command_line, tcp_words

READ_BYTES_MAX = 65_536


class BufferedEcho(asyncio.BufferedProtocol):
    """Sends back what arrives, received into a buffer of its own."""

    __slots__ = ("transport", "view")

    def __init__(self) -> None:
        self.view = memoryview(bytearray(READ_BYTES_MAX))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.view

    def buffer_updated(self, nbytes: int) -> None:
        # A copy: what a transport cannot send at once it may keep without copying.
        self.transport.write(bytes(self.view[:nbytes]))  # type: ignore[attr-defined]


async def echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # The client may end in the middle of an exchange.
    with suppress(ConnectionError):
        while data := await reader.read(READ_BYTES_MAX):
            writer.write(data)
            await writer.drain()
    writer.close()


async def echo_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    writer.close()


async def start_protocol(loop: AbstractEventLoop, _path: str) -> Server:
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=BACKLOG)
    return tcp_words(server), server


async def start_buffered(loop: AbstractEventLoop, _path: str) -> Server:
    server = await loop.create_server(BufferedEcho, "127.0.0.1", 0, backlog=BACKLOG)
    return tcp_words(server), server


async def start_streams(_loop: AbstractEventLoop, _path: str) -> Server:
    server = await primitives().start_server(echo_stream, "127.0.0.1", 0, backlog=BACKLOG)
    return tcp_words(server), server


async def start_lines(_loop: AbstractEventLoop, _path: str) -> Server:
    server = await primitives().start_server(echo_lines, "127.0.0.1", 0, backlog=BACKLOG)
    return tcp_words(server), server


STARTERS = {
    "protocol": start_protocol,
    "buffered": start_buffered,
    "streams": start_streams,
    "lines": start_lines,
}


def main() -> None:
    parser = network_command_line(__doc__)
    parser.add_argument("--style", choices=STARTERS, default="protocol")
    parser.add_argument("--line", type=int, default=0, help="bytes of a line; 0 for no lines")
    options = parser.parse_args()
    ask_network(options, STARTERS[options.style], "--line", options.line)


if __name__ == "__main__":
    main()
