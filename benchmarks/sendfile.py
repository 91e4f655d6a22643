"""How many times a second is a file of 10 MiB sent by loop.sendfile?

The client asks with a short message and reads the file to its end. The file has just been written,
so it is in the kernel's memory: this asks what the loop pays, not what a disk does.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import traceback
from asyncio import AbstractEventLoop
from typing import BinaryIO

from network import BACKLOG, Server, ask_network, network_command_line, tcp_words

FILE_BYTES = 10 * 1024 * 1024


class FileServer(asyncio.Protocol):
    """Sends the file for each message."""

    def __init__(self, loop: AbstractEventLoop, file: BinaryIO) -> None:
        self.loop = loop
        self.file = file
        self.sending: asyncio.Task[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        sending = self.loop.sendfile(self.transport, self.file, 0, FILE_BYTES)  # type: ignore[arg-type]
        self.sending = self.loop.create_task(sending)
        self.sending.add_done_callback(self.end_if_failed)

    def end_if_failed(self, sending: asyncio.Task[int]) -> None:
        """End the process with the reason: the client could only say that nothing came."""
        if sending.cancelled():
            return
        error = sending.exception()
        # The client may end in the middle of a file.
        if error and not isinstance(error, ConnectionError) and not self.transport.is_closing():
            traceback.print_exception(error)
            sys.stderr.flush()
            os._exit(1)


async def start(loop: AbstractEventLoop, _path: str) -> Server:
    file = tempfile.TemporaryFile()  # noqa: SIM115  it stays open as long as the server
    file.write(os.urandom(FILE_BYTES))
    file.flush()
    server = await loop.create_server(
        lambda: FileServer(loop, file), "127.0.0.1", 0, backlog=BACKLOG
    )
    return tcp_words(server), (server, file)


if __name__ == "__main__":
    ask_network(network_command_line(__doc__).parse_args(), start, "--answer", FILE_BYTES)
