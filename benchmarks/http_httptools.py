"""How many requests a second does a protocol answer that reads HTTP with httptools?

The least that a web server can do: its answer is ready, and nothing is looked up.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop

import httptools
from network import BACKLOG, Server, tcp_words
from wrk import HELLO, ask_wrk

HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(HELLO)}\r\n\r\n"
ANSWER = HEAD.encode() + HELLO


class HelloProtocol(asyncio.Protocol):
    """Answers each request with hello."""

    __slots__ = ("parser", "transport")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.transport.write(ANSWER)  # type: ignore[attr-defined]
        if not self.parser.should_keep_alive():
            self.transport.close()


async def start(loop: AbstractEventLoop, _path: str) -> Server:
    server = await loop.create_server(HelloProtocol, "127.0.0.1", 0, backlog=BACKLOG)
    return tcp_words(server), server


if __name__ == "__main__":
    ask_wrk(__doc__, start)
