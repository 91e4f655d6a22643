"""How each library reads and writes: what the questions about files ask with."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

BLOCK_BYTES = 4096
CHUNK_BYTES = 1 << 20
BLOCK = bytes(BLOCK_BYTES)
CHUNK = bytes(CHUNK_BYTES)
PIECE = b"x" * 99 + b"\n"


def fd_of(file: Any) -> int:
    return int((file.wrapped if hasattr(file, "wrapped") else file).fileno())


def expect_random(file: Any, path: Path) -> None:
    """Tell the kernel not to read ahead of what is asked for.

    Where a library keeps its descriptor to itself, all of the path are told.
    """
    try:
        fds = [fd_of(file)]
    except AttributeError:
        links = Path("/proc/self/fd").iterdir()
        fds = [int(link.name) for link in links if link.exists() and link.samefile(path)]
    for fd in fds:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)


class Blocking:
    """Plain files: what everything else is measured by. Nothing runs beside it."""

    async def read_blocks(self, path: Path, offsets: Iterator[int], _at_once: int) -> None:
        with path.open("rb") as file:
            for offset in offsets:
                file.seek(offset)
                file.read(BLOCK_BYTES)

    async def read_cold(self, path: Path, offsets: Iterator[int], _at_once: int) -> None:
        with path.open("rb", 0) as file:
            expect_random(file, path)
            for offset in offsets:
                file.seek(offset)
                file.read(BLOCK_BYTES)

    async def write_blocks(self, path: Path, offsets: Iterator[int], _at_once: int) -> None:
        with path.open("r+b", 0) as file:
            for offset in offsets:
                file.seek(offset)
                file.write(BLOCK)

    async def sync_blocks(self, path: Path, offsets: Iterator[int], _at_once: int) -> None:
        with path.open("r+b", 0) as file:
            for offset in offsets:
                os.pwrite(file.fileno(), BLOCK, offset)
                os.fsync(file.fileno())

    async def read_small(self, paths: Iterator[Path], _at_once: int) -> None:
        for path in paths:
            with path.open("rb") as file:
                file.read()

    async def write_pieces(self, path: Path, count: int) -> None:
        with path.open("wb") as file:
            for _ in range(count):
                file.write(PIECE)

    async def count_lines(self, path: Path) -> int:
        # The loop has the same body here as below, so that only the reading differs.
        count = 0
        with path.open() as file:
            for _ in file:
                count += 1
        return count

    async def read_all(self, path: Path) -> None:
        with path.open("rb") as file:
            while file.read(CHUNK_BYTES):
                pass

    async def write_all(self, path: Path, size_bytes: int) -> None:
        with path.open("wb") as file:
            for _ in range(size_bytes // CHUNK_BYTES):
                file.write(CHUNK)
            file.flush()
            os.fsync(file.fileno())

    async def walk(self, path: Path) -> int:
        return sum(len(names) for _, _, names in os.walk(path))


class Async:
    """The same with a library's `open`, whose files have aiofiles' methods."""

    open: Callable[..., Any]
    has_positions = False
    """Whether calls have positions of their own, so that tasks can share one open file."""

    @contextlib.asynccontextmanager
    async def opened(self, path: Path, mode: str = "r", buffering: int = -1) -> AsyncIterator[Any]:
        async with self.open(path, mode, buffering) as file:
            yield file

    async def read_blocks(self, path: Path, offsets: Iterator[int], at_once: int) -> None:
        await self.share(path, "rb", self.read_block, offsets, at_once)

    async def read_cold(self, path: Path, offsets: Iterator[int], at_once: int) -> None:
        await self.share(path, "rb", self.read_block, offsets, at_once, is_cold=True)

    async def write_blocks(self, path: Path, offsets: Iterator[int], at_once: int) -> None:
        await self.share(path, "r+b", self.write_block, offsets, at_once)

    async def share(
        self,
        path: Path,
        mode: str,
        call: Callable[..., Any],
        offsets: Iterator[int],
        at_once: int,
        *,
        is_cold: bool = False,
    ) -> None:
        """Make a call at each offset, so many at once."""
        # A buffer has a position, and would only be in the way.
        buffering = -1 if self.has_positions else 0

        async def alone() -> None:
            async with self.opened(path, mode, buffering) as file:
                if is_cold:
                    expect_random(file, path)
                await self.each(call, file, offsets, at_once if self.has_positions else 1)

        await asyncio.gather(*(alone() for _ in range(1 if self.has_positions else at_once)))

    async def each(
        self, call: Callable[..., Any], file: Any, offsets: Iterator[int], at_once: int
    ) -> None:
        """Make a call at each offset, so many at once, on one file."""

        async def some() -> None:
            for offset in offsets:
                await call(file, offset)

        await asyncio.gather(*(some() for _ in range(at_once)))

    async def read_block(self, file: Any, offset: int) -> None:
        await file.seek(offset)
        await file.read(BLOCK_BYTES)

    async def sync_blocks(self, path: Path, offsets: Iterator[int], at_once: int) -> None:
        await self.share(path, "r+b", self.sync_block, offsets, at_once)

    async def write_block(self, file: Any, offset: int) -> None:
        await file.seek(offset)
        await file.write(BLOCK)

    async def sync_block(self, file: Any, offset: int) -> None:
        await self.write_block(file, offset)
        await asyncio.to_thread(os.fsync, fd_of(file))

    async def read_small(self, paths: Iterator[Path], at_once: int) -> None:
        async def read() -> None:
            for path in paths:
                await self.read_one(path)

        await asyncio.gather(*(read() for _ in range(at_once)))

    async def read_one(self, path: Path) -> None:
        async with self.opened(path, "rb") as file:
            await file.read()

    async def write_pieces(self, path: Path, count: int) -> None:
        async with self.opened(path, "wb") as file:
            for _ in range(count):
                await file.write(PIECE)

    async def count_lines(self, path: Path) -> int:
        count = 0
        async with self.opened(path) as file:
            async for _ in file:
                count += 1
        return count

    async def read_all(self, path: Path) -> None:
        async with self.opened(path, "rb") as file:
            while await file.read(CHUNK_BYTES):
                pass

    async def write_all(self, path: Path, size_bytes: int) -> None:
        async with self.opened(path, "wb") as file:
            for _ in range(size_bytes // CHUNK_BYTES):
                await file.write(CHUNK)
            await file.flush()
            await asyncio.to_thread(os.fsync, fd_of(file))


class Aiofiles(Async):
    """aiofiles: each call is a hop to a thread."""

    def __init__(self) -> None:
        import aiofiles

        self.open = aiofiles.open


class Anyio(Async):
    """anyio, whose Path reads a whole file in one hop."""

    def __init__(self) -> None:
        import anyio

        self.library = anyio

    @contextlib.asynccontextmanager
    async def opened(self, path: Path, mode: str = "r", buffering: int = -1) -> AsyncIterator[Any]:
        async with await self.library.open_file(path, mode, buffering) as file:
            yield file

    async def read_one(self, path: Path) -> None:
        await self.library.Path(path).read_bytes()


class Aiofile(Async):
    """aiofile on caio: positional calls on Linux's native AIO, or in threads of its own."""

    has_positions = True

    def __init__(self) -> None:
        import aiofile

        self.library = aiofile

    @contextlib.asynccontextmanager
    async def opened(self, path: Path, mode: str = "r", _buffering: int = -1) -> AsyncIterator[Any]:
        async with self.library.AIOFile(str(path), mode) as file:
            yield file

    async def read_block(self, file: Any, offset: int) -> None:
        await file.read_bytes(BLOCK_BYTES, offset)

    async def write_block(self, file: Any, offset: int) -> None:
        await file.write_bytes(BLOCK, offset)

    async def sync_block(self, file: Any, offset: int) -> None:
        await file.write_bytes(BLOCK, offset)
        await file.fsync()

    async def write_pieces(self, path: Path, count: int) -> None:
        async with self.library.async_open(path, "wb") as file:
            for _ in range(count):
                await file.write(PIECE)

    async def count_lines(self, path: Path) -> int:
        count = 0
        async with self.library.AIOFile(str(path), "r") as file:
            async for _ in self.library.LineReader(file):
                count += 1
        return count

    async def read_all(self, path: Path) -> None:
        async with self.library.async_open(path, "rb") as file:
            while await file.read(CHUNK_BYTES):
                pass

    async def write_all(self, path: Path, size_bytes: int) -> None:
        async with self.library.AIOFile(str(path), "wb") as file:
            for number in range(size_bytes // CHUNK_BYTES):
                await file.write(CHUNK, number * CHUNK_BYTES)
            await file.fsync()


class Asyncfiles(Async):
    """py-asyncfiles, on io_uring where it can. It has no fsync, which is a hop to a thread here."""

    def __init__(self) -> None:
        import asyncfiles

        self.library = asyncfiles

    @contextlib.asynccontextmanager
    async def opened(self, path: Path, mode: str = "r", _buffering: int = -1) -> AsyncIterator[Any]:
        async with self.library.open(str(path), mode) as file:
            yield file

    async def read_block(self, file: Any, offset: int) -> None:
        file.seek(offset)
        await file.read(BLOCK_BYTES)

    async def write_block(self, file: Any, offset: int) -> None:
        file.seek(offset)
        await file.write(BLOCK)

    async def sync_blocks(self, path: Path, offsets: Iterator[int], at_once: int) -> None:
        # What a descriptor syncs is the file, whoever wrote to it.
        with path.open("rb") as same:

            async def sync_block(file: Any, offset: int) -> None:
                await self.write_block(file, offset)
                await asyncio.to_thread(os.fsync, same.fileno())

            await self.share(path, "r+b", sync_block, offsets, at_once)

    async def write_all(self, path: Path, size_bytes: int) -> None:
        async with self.opened(path, "wb") as file:
            for _ in range(size_bytes // CHUNK_BYTES):
                await file.write(CHUNK)
            with path.open("rb") as same:
                await asyncio.to_thread(os.fsync, same.fileno())


class Meantime(Async):
    """meantime's own."""

    has_positions = True

    def __init__(self) -> None:
        import meantime

        self.library = meantime
        self.open = meantime.open_file

    async def read_block(self, file: Any, offset: int) -> None:
        await file.read_at(BLOCK_BYTES, offset)

    async def write_block(self, file: Any, offset: int) -> None:
        await file.write_at(BLOCK, offset)

    async def sync_block(self, file: Any, offset: int) -> None:
        await file.write_at(BLOCK, offset)
        await file.fsync()

    async def read_one(self, path: Path) -> None:
        await self.library.files.read_bytes(path)

    async def write_all(self, path: Path, size_bytes: int) -> None:
        async with self.opened(path, "wb") as file:
            for _ in range(size_bytes // CHUNK_BYTES):
                await file.write(CHUNK)
            await file.fsync()

    async def walk(self, path: Path) -> int:
        return sum([len(names) async for _, _, names in self.library.Path(path).walk()])


LIBRARIES: dict[str, Callable[[], Any]] = {
    "blocking": Blocking,
    "aiofiles": Aiofiles,
    "anyio": Anyio,
    "aiofile": Aiofile,
    "py-asyncfiles": Asyncfiles,
    "meantime": Meantime,
}
