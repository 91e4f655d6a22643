"""How many chunks a second go through a pipe whose two ends the loop has?

`connect_write_pipe` writes chunks of `--size` bytes and stops while its protocol is told to;
`connect_read_pipe` takes what comes. Nothing else happens, and both ends are in this process.
"""

from __future__ import annotations

import asyncio
import os
from asyncio import AbstractEventLoop

from harness import Laps, ask

LAP_BYTES = 4 * 1024 * 1024


class Writing(asyncio.BaseProtocol):
    """Knows whether the pipe is full."""

    def __init__(self) -> None:
        self.may_write = asyncio.Event()
        self.may_write.set()

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()


class Reading(asyncio.Protocol):
    """Counts the bytes, and says when so many have come."""

    def __init__(self) -> None:
        self.missing_bytes = 0
        self.done = asyncio.Event()

    def expect(self, size_bytes: int) -> None:
        self.missing_bytes = size_bytes
        self.done.clear()

    def data_received(self, data: bytes) -> None:
        self.missing_bytes -= len(data)
        if self.missing_bytes <= 0:
            self.done.set()


async def write_laps(loop: AbstractEventLoop, laps: Laps, size: int) -> None:
    read_fd, write_fd = os.pipe()
    source, reading = await loop.connect_read_pipe(Reading, os.fdopen(read_fd, "rb", 0))
    sink, writing = await loop.connect_write_pipe(Writing, os.fdopen(write_fd, "wb", 0))
    chunk = os.urandom(size)
    chunks = LAP_BYTES // size
    while True:
        reading.expect(chunks * size)
        for _ in range(chunks):
            sink.write(chunk)
            if not writing.may_write.is_set():
                await writing.may_write.wait()
        await reading.done.wait()
        if reading.missing_bytes:
            raise RuntimeError(f"{-reading.missing_bytes} bytes more than were written")
        if not laps.more():
            break
    sink.close()
    source.close()


def measure(loop: AbstractEventLoop, laps: Laps, *, size: int) -> float:
    loop.run_until_complete(write_laps(loop, laps, size))
    return laps.per_second(LAP_BYTES // size)


if __name__ == "__main__":
    ask(__doc__, measure, size=65_536)
