"""How fast are files, as a part of what plain blocking `open()` makes of them?

python benchmarks/files.py                       everything: some ten minutes
python benchmarks/files.py --quick               smaller files: a minute
python benchmarks/files.py --only read --rounds 5
python benchmarks/files.py --library blocking --question read_x1      one run, in this process

Here the peers are libraries, not loops: aiofiles, anyio and aiofile (with caio below it) on
asyncio's own loop, and meantime on each of its pollers. Each run is a process of its own, the
libraries take turns, and the table has the medians as a part of blocking's. The files are in the
page cache. A question that a library has no call for is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

BLOCK_BYTES = 4096
CHUNK_BYTES = 1 << 20
PIECE = b"x" * 99 + b"\n"
LIBRARIES = ("blocking", "aiofiles", "anyio", "aiofile", "meantime-io_uring", "meantime-epoll")
REACH = {
    "read_x1": 0.6,
    "read_x64": 0.6,
    "small_x1": 0.6,
    "small_x64": 1.2,
    "sync_x1": 0.15,
    "sync_x64": 1.0,
    "pieces": 0.7,
    "lines": 0.7,
    "read_all": 0.95,
    "write_all": 0.95,
}
"""Where meantime wants to be, as a part of blocking."""


class Sizes:
    """How much each question is asked for."""

    def __init__(self, is_quick: bool) -> None:
        self.large_bytes = (32 << 20) if is_quick else (1 << 30)
        self.blocks = 2_000 if is_quick else 50_000
        self.synced = 50 if is_quick else 400
        self.small_files = 500 if is_quick else 5_000
        self.lines = 50_000 if is_quick else 1_000_000
        self.entries = 2_000 if is_quick else 50_000


def make_files(folder: Path, sizes: Sizes) -> None:
    """Make what is read; it is then in the page cache."""
    chunk = random.Random(1).randbytes(CHUNK_BYTES)
    with (folder / "large").open("wb") as file:
        for _ in range(sizes.large_bytes // CHUNK_BYTES):
            file.write(chunk)
    with (folder / "lines").open("w") as text:
        for number in range(sizes.lines):
            text.write(f"this is line {number}, of a length that lines often have\n")
    for name, count, size in (("small", sizes.small_files, 2000), ("tree", sizes.entries, 0)):
        for number in range(count):
            place = folder / name / str(number // 100)
            place.mkdir(parents=True, exist_ok=True)
            (place / str(number)).write_bytes(chunk[:size])
    (folder / "synced").write_bytes(chunk * 4)


def places(size_bytes: int, count: int) -> list[int]:
    """Return positions of blocks, the same ones for each library."""
    chance = random.Random(2)
    return [chance.randrange(size_bytes // BLOCK_BYTES) * BLOCK_BYTES for _ in range(count)]


# ---- what each library does in its own best way


class Blocking:
    """Plain files: what everything else is measured by. Nothing runs beside it."""

    async def read_blocks(self, path: Path, offsets: Iterator[int], _at_once: int) -> None:
        with path.open("rb") as file:
            for offset in offsets:
                file.seek(offset)
                file.read(BLOCK_BYTES)

    async def sync_blocks(self, path: Path, offsets: Iterator[int], _at_once: int) -> None:
        with path.open("r+b", 0) as file:
            for offset in offsets:
                os.pwrite(file.fileno(), bytes(BLOCK_BYTES), offset)
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
        with path.open() as file:
            return sum(1 for _ in file)

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


CHUNK = bytes(CHUNK_BYTES)


class Async:
    """The same with a library's `open`, whose files have aiofiles' methods."""

    open: Callable[..., Any]
    has_positions = False
    """Whether calls have positions of their own, so that tasks can share one open file."""

    @contextlib.asynccontextmanager
    async def opened(self, path: Path, mode: str = "r") -> AsyncIterator[Any]:
        async with self.open(path, mode) as file:
            yield file

    async def read_blocks(self, path: Path, offsets: Iterator[int], at_once: int) -> None:
        await self.share(path, "rb", self.read_block, offsets, at_once)

    async def share(
        self, path: Path, mode: str, call: Callable[..., Any], offsets: Iterator[int], at_once: int
    ) -> None:
        """Make a call at each offset, so many at once."""

        async def on(file: Any) -> None:
            for offset in offsets:
                await call(file, offset)

        async def alone() -> None:
            async with self.opened(path, mode) as file:
                await on(file)

        if self.has_positions:
            async with self.opened(path, mode) as file:
                await asyncio.gather(*(on(file) for _ in range(at_once)))
        else:
            await asyncio.gather(*(alone() for _ in range(at_once)))

    async def read_block(self, file: Any, offset: int) -> None:
        await file.seek(offset)
        await file.read(BLOCK_BYTES)

    async def sync_blocks(self, path: Path, offsets: Iterator[int], at_once: int) -> None:
        await self.share(path, "r+b", self.sync_block, offsets, at_once)

    async def sync_block(self, file: Any, offset: int) -> None:
        await file.seek(offset)
        await file.write(bytes(BLOCK_BYTES))
        await file.flush()
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


def fd_of(file: Any) -> int:
    return int((file.wrapped if hasattr(file, "wrapped") else file).fileno())


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
    async def opened(self, path: Path, mode: str = "r") -> AsyncIterator[Any]:
        async with await self.library.open_file(path, mode) as file:
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
    async def opened(self, path: Path, mode: str = "r") -> AsyncIterator[Any]:
        async with self.library.AIOFile(str(path), mode) as file:
            yield file

    async def read_block(self, file: Any, offset: int) -> None:
        await file.read_bytes(BLOCK_BYTES, offset)

    async def sync_block(self, file: Any, offset: int) -> None:
        await file.write(bytes(BLOCK_BYTES), offset)
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


class Meantime(Async):
    """meantime's own."""

    has_positions = True

    def __init__(self) -> None:
        import meantime

        self.library = meantime
        self.open = meantime.open_file

    async def read_block(self, file: Any, offset: int) -> None:
        await file.read_at(BLOCK_BYTES, offset)

    async def sync_block(self, file: Any, offset: int) -> None:
        await file.write_at(bytes(BLOCK_BYTES), offset)
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


# ---- the questions


def prepare(library: Any, question: str, folder: Path, sizes: Sizes) -> Callable[[], Any]:
    """Return what asks a library a question."""
    at_once = int(question.rpartition("_x")[2]) if "_x" in question else 1
    blocks = iter(places(sizes.large_bytes, sizes.blocks))
    synced = iter(places(4 * CHUNK_BYTES, sizes.synced))
    small = iter([folder / "small" / str(n // 100) / str(n) for n in range(sizes.small_files)])
    asked: dict[str, Callable[[], Any]] = {
        "read": lambda: library.read_blocks(folder / "large", blocks, at_once),
        "sync": lambda: library.sync_blocks(folder / "synced", synced, at_once),
        "small": lambda: library.read_small(small, at_once),
        "pieces": lambda: library.write_pieces(folder / "new", sizes.lines // 5),
        "lines": lambda: library.count_lines(folder / "lines"),
        "read_all": lambda: library.read_all(folder / "large"),
        "write_all": lambda: library.write_all(folder / "new", sizes.large_bytes),
        "walk": lambda: library.walk(folder / "tree"),
    }
    return asked[question.partition("_x")[0]]


QUESTIONS = {
    "read_x1": "4 KiB random reads, 1 at a time",
    "read_x64": "4 KiB random reads, 64 at a time",
    "sync_x1": "4 KiB writes, each with fsync, 1 at a time",
    "sync_x64": "4 KiB writes, each with fsync, 64 at a time",
    "small_x1": "small files, read whole, 1 at a time",
    "small_x64": "small files, read whole, 64 at a time",
    "pieces": "100 B writes, one after the other",
    "lines": "lines of text",
    "read_all": "a large file, read by 1 MiB",
    "write_all": "a large file, written by 1 MiB, then fsync",
    "walk": "a walk through folders",
}


async def longest_step_s(stop: asyncio.Event) -> float:
    """Return the longest time between two turns of this task, which asks for one at once."""
    longest_s, before_s = 0.0, perf_counter()
    while not stop.is_set():
        await asyncio.sleep(0)
        now_s = perf_counter()
        longest_s, before_s = max(longest_s, now_s - before_s), now_s
    return longest_s


async def run_once(library: Any, question: str, folder: Path, sizes: Sizes) -> dict[str, float]:
    ask = prepare(library, question, folder, sizes)
    started_s = perf_counter()
    await ask()
    took_s = perf_counter() - started_s
    if question != "write_all" or isinstance(library, Blocking):
        return {"took_s": took_s}
    # Again, with somebody who looks how long others have to wait.
    stop = asyncio.Event()
    watching = asyncio.ensure_future(longest_step_s(stop))
    await ask()
    stop.set()
    return {"took_s": took_s, "longest_step_ms": 1000 * await watching}


def answer(name: str, question: str, folder: Path, sizes: Sizes) -> None:
    """Ask one library one question, and print its figures as JSON."""
    makers: dict[str, Callable[[], Any]] = {
        "blocking": Blocking,
        "aiofiles": Aiofiles,
        "anyio": Anyio,
        "aiofile": Aiofile,
        "meantime": Meantime,
    }
    library, _, backend = name.partition("-")
    loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop
    if backend:
        os.environ["MEANTIME_BACKEND"] = backend
        import meantime

        loop = meantime.new_event_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        figures = runner.run(run_once(makers[library](), question, folder, sizes))
    print(json.dumps(figures))


def ask_in_process(
    name: str, question: str, folder: Path, is_quick: bool
) -> tuple[dict[str, float], str]:
    """Return a library's figures, or why there are none."""
    command = [
        sys.executable, __file__, "--library", name, "--question", question,
        "--folder", str(folder), *(["--quick"] if is_quick else []),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    except subprocess.CalledProcessError as error:
        return {}, error.stderr.strip().splitlines()[-1]
    except subprocess.TimeoutExpired:
        return {}, "it took more than ten minutes"
    found: dict[str, float] = json.loads(done.stdout)
    return found, ""


def compare(questions: list[str], names: list[str], rounds: int, is_quick: bool) -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as made:
        folder = Path(made)
        make_files(folder, Sizes(is_quick))
        print(f"{'':44}" + "".join(f"{name:>19}" for name in names))
        for question in questions:
            figures: dict[str, list[dict[str, float]]] = {name: [] for name in names}
            for _ in range(rounds):
                for name in names:
                    found, reason = ask_in_process(name, question, folder, is_quick)
                    if found:
                        figures[name].append(found)
                    elif "has no attribute" not in reason:
                        print(f"  {name} on {question}: {reason}", file=sys.stderr)
            print_row(question, figures)


def print_row(question: str, figures: dict[str, list[dict[str, float]]]) -> None:
    def median(name: str, figure: str) -> float:
        return statistics.median([found[figure] for found in figures[name]] or [0.0])

    base_s = median("blocking", "took_s")
    cells = []
    for name in figures:
        took_s = median(name, "took_s")
        if name == "blocking":
            cells.append(f"{took_s:.3f} s")
        else:
            cells.append(f"{base_s / took_s:.3g}" if took_s else "-")
    goal = f" (≥ {REACH[question]})" if question in REACH else ""
    print(f"{QUESTIONS[question] + goal:44}" + "".join(f"{cell:>19}" for cell in cells))
    if question == "write_all":
        steps = [
            f"{median(name, 'longest_step_ms'):.1f} ms" if name != "blocking" else ""
            for name in figures
        ]
        print(f"{'  the longest step meanwhile (< 5 ms)':44}" + "".join(f"{s:>19}" for s in steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="questions with this in their name")
    parser.add_argument("--peers", default=",".join(LIBRARIES))
    parser.add_argument("--library", choices=LIBRARIES, help="ask this one, here")
    parser.add_argument("--question", choices=QUESTIONS)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.library:
        answer(options.library, options.question, options.folder, Sizes(options.quick))
        return
    questions = [question for question in QUESTIONS if options.only in question]
    compare(questions, options.peers.split(","), options.rounds, options.quick)


if __name__ == "__main__":
    main()
