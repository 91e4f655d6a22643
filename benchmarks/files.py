"""How fast are files, as a part of what plain blocking `open()` makes of them?

python benchmarks/files.py                       everything: some ten minutes, 3 GiB of room
python benchmarks/files.py --quick               smaller files: a minute
python benchmarks/files.py --only read --rounds 5
python benchmarks/files.py --folder /mnt/disk    where to write; by default the current folder
python benchmarks/files.py --library blocking --question read_x1 --folder made    one run, here

Here the peers are libraries, not loops: aiofiles, anyio, aiofile (with caio below it: on io_uring
here, and as `aiofile-threads` in threads of its own, which is what it has where there is none) and
py-asyncfiles on asyncio's own loop, and meantime on each of its pollers. Two programs in C, on
pread and on io_uring, stand for the limit. Each run is a process of its own, the libraries take
turns, and the table has the medians as a part of blocking's. The files are in the page cache, but
for reads that are called cold. A question that a library has no call for is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import filing
import machine
from filing import BLOCK_BYTES, CHUNK_BYTES
from network import compiled
from peers import version_of
from tables import table

LIMITS = {"c-pread": "files_pread", "c-io_uring": "files_uring"}
"""The programs in C."""

LIBRARIES = (
    *("blocking", "aiofiles", "anyio", "aiofile", "aiofile-threads", "py-asyncfiles"),
    *("meantime-io_uring", "meantime-epoll", *LIMITS),
)
HOPS = {"aiofiles", "anyio"}
MANY = {"read", "write", "pieces", "lines"}
"""Who hops to a thread for each call is asked for a tenth of these, and the time taken tenfold."""

RESULTS = Path(__file__).resolve().parent / "results"
LONGEST_STEP_MS_MAX = 5
TITLE_WIDTH, GOAL_WIDTH, CELL_WIDTH = 46, 8, 19
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

    def __init__(self, is_quick: bool, is_tenth: bool = False) -> None:
        self.large_bytes = (32 << 20) if is_quick else (1 << 30)
        self.written_bytes = (8 << 20) if is_quick else (64 << 20)
        self.blocks = 2_000 if is_quick else 50_000
        self.cold = 200 if is_quick else 4_000
        self.synced = 50 if is_quick else 400
        self.small_files = 500 if is_quick else 5_000
        self.lines = 50_000 if is_quick else 1_000_000
        self.entries = 2_000 if is_quick else 50_000
        if is_tenth:
            self.blocks //= 10
            self.lines //= 10

    def room_bytes(self) -> int:
        """Return how much room on the disk is needed: a block for each small file."""
        return 3 * self.large_bytes + BLOCK_BYTES * (self.small_files + self.entries)


def make_files(folder: Path, sizes: Sizes) -> None:
    """Make what is read; it is then in the page cache."""
    chunk = random.Random(1).randbytes(CHUNK_BYTES)
    for name, size in (("large", sizes.large_bytes), ("written", sizes.written_bytes)):
        with (folder / name).open("wb") as file:
            for _ in range(size // CHUNK_BYTES):
                file.write(chunk)
    for count in (sizes.lines, sizes.lines // 10):
        with (folder / f"lines_{count}").open("w") as text:
            for number in range(count):
                text.write(f"this is line {number}, of a length that lines often have\n")
    for name, count, size in (("small", sizes.small_files, 2000), ("tree", sizes.entries, 0)):
        for number in range(count):
            place = folder / name / str(number // 100)
            place.mkdir(parents=True, exist_ok=True)
            (place / str(number)).write_bytes(chunk[:size])
    (folder / "synced").write_bytes(chunk * 4)
    os.sync()  # what is still to be written would disturb the first questions


def places(size_bytes: int, count: int) -> list[int]:
    """Return positions of blocks, the same ones for each library."""
    chance = random.Random(2)
    return [chance.randrange(size_bytes // BLOCK_BYTES) * BLOCK_BYTES for _ in range(count)]


# ---- the questions


def prepare(library: Any, question: str, folder: Path, sizes: Sizes) -> Callable[[], Any]:
    """Return what asks a library a question."""
    kind, at_once = parts_of(question)
    blocks = iter(places(sizes.large_bytes, sizes.blocks))
    cold = iter(places(sizes.large_bytes, sizes.cold))
    written = iter(places(sizes.written_bytes, sizes.blocks))
    synced = iter(places(4 * CHUNK_BYTES, sizes.synced))
    small = iter([folder / "small" / str(n // 100) / str(n) for n in range(sizes.small_files)])
    asked: dict[str, Callable[[], Any]] = {
        "read": lambda: library.read_blocks(folder / "large", blocks, at_once),
        "cold": lambda: library.read_cold(folder / "large", cold, at_once),
        "write": lambda: library.write_blocks(folder / "written", written, at_once),
        "sync": lambda: library.sync_blocks(folder / "synced", synced, at_once),
        "small": lambda: library.read_small(small, at_once),
        "pieces": lambda: library.write_pieces(folder / "new", sizes.lines // 5),
        "lines": lambda: library.count_lines(folder / f"lines_{sizes.lines}"),
        "read_all": lambda: library.read_all(folder / "large"),
        "write_all": lambda: library.write_all(folder / "new", sizes.large_bytes),
        "walk": lambda: library.walk(folder / "tree"),
    }
    return asked[kind]


def parts_of(question: str) -> tuple[str, int]:
    """Return what is asked, and of how many at once."""
    kind, _, at_once = question.partition("_x")
    return kind, int(at_once or 1)


def command_of(limit: str, question: str, folder: Path, sizes: Sizes) -> list[str]:
    """Return how to ask a program in C; nothing if it does not do this."""
    kind, at_once = parts_of(question)
    asked: dict[str, tuple[str, str, int]] = {
        "read": ("read", "large", sizes.blocks),
        "cold": ("read", "large", sizes.cold),
        "write": ("write", "written", sizes.blocks),
        "sync": ("sync", "synced", sizes.synced),
        "small": ("small", "small", sizes.small_files),
        "read_all": ("read_all", "large", sizes.large_bytes),
        "write_all": ("write_all", "new", sizes.large_bytes),
    }
    if kind not in asked:
        return []
    what, name, count = asked[kind]
    words = [compiled(LIMITS[limit]), what, str(folder / name), str(count), str(at_once)]
    return [*words, "random"] if kind == "cold" else words


QUESTIONS = {
    "read_x1": "4 KiB random reads, 1 at a time",
    "read_x64": "4 KiB random reads, 64 at a time",
    "cold_x1": "4 KiB random reads, cold, 1 at a time",
    "cold_x64": "4 KiB random reads, cold, 64 at a time",
    "write_x1": "4 KiB random writes, 1 at a time",
    "write_x64": "4 KiB random writes, 64 at a time",
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
    if question != "write_all" or isinstance(library, filing.Blocking):
        return {"took_s": took_s}
    # Again, with somebody who is always ready, and looks how long others have to wait.
    stop = asyncio.Event()
    watching = asyncio.ensure_future(longest_step_s(stop))
    started_s = perf_counter()
    await ask()
    busy_s = perf_counter() - started_s
    stop.set()
    longest_s = await watching
    # And that one alone, for as long: the machine itself may hold a loop up.
    stop.clear()
    asyncio.get_running_loop().call_later(busy_s, stop.set)
    return {
        "took_s": took_s,
        "busy_s": busy_s,
        "longest_step_ms": 1000 * longest_s,
        "idle_step_ms": 1000 * await longest_step_s(stop),
    }


def answer(name: str, question: str, folder: Path, sizes: Sizes) -> None:
    """Ask one library one question, and print its figures as JSON."""
    library, _, backend = name.rpartition("-") if name.startswith("meantime") else (name, "", "")
    if name == "aiofile-threads":
        os.environ["CAIO_IMPL"] = "thread"
        library = "aiofile"
    loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop
    if backend:
        os.environ["MEANTIME_BACKEND"] = backend
        import meantime

        loop = meantime.new_event_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        made = filing.LIBRARIES[library]()
        figures = runner.run(run_once(made, question, folder, sizes))
    print(json.dumps(figures))


def drop_from_cache(path: Path) -> bool:
    """Have the kernel forget what it holds of a file. Returns whether it did."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            os.preadv(file.fileno(), [bytearray(BLOCK_BYTES)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            return True
        except OSError:
            pass  # not for this file system: it may be one in memory
    return False


def ask_in_process(
    name: str, question: str, folder: Path, is_quick: bool
) -> tuple[dict[str, float], str]:
    """Return a library's figures, or why there are none."""
    kind, _ = parts_of(question)
    is_tenth = name in HOPS and kind in MANY
    if kind == "cold" and not drop_from_cache(folder / "large"):
        return {}, "the kernel keeps the file in memory. Use --folder on a file system with a disk."
    try:
        command = (
            command_of(name, question, folder, Sizes(is_quick))
            if name in LIMITS
            else [
                *(sys.executable, __file__, "--library", name, "--question", question),
                *("--folder", str(folder), *(["--quick"] if is_quick else [])),
                *(["--tenth"] if is_tenth else []),
            ]
        )
        if not command:
            return {}, ""
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    except subprocess.CalledProcessError as error:
        return {}, (error.stderr or "it could not be compiled").strip().splitlines()[-1]
    except RuntimeError as error:
        return {}, str(error)
    except subprocess.TimeoutExpired:
        return {}, "it took more than ten minutes"
    found: dict[str, float] = json.loads(done.stdout)
    if is_tenth:
        found["took_s"] *= 10
    return found, ""


class Answers:
    """All figures of a run: `figures[question][library]` is one set for each round."""

    def __init__(self, names: list[str], rounds: int) -> None:
        self.names = names
        self.rounds = rounds
        self.machine = machine.describe()
        self.figures: dict[str, dict[str, list[dict[str, float]]]] = {}
        self.reasons: dict[str, dict[str, str]] = {}

    def add(self, question: str, name: str, found: dict[str, float], reason: str) -> None:
        """Keep what one run has said."""
        if found:
            self.figures.setdefault(question, {}).setdefault(name, []).append(found)
        elif reason and "has no attribute" not in reason:
            self.reasons.setdefault(question, {})[name] = reason
            print(f"  {name} on {question}: {reason}", file=sys.stderr)

    def all(self, question: str, name: str, figure: str) -> list[float]:
        return [found[figure] for found in self.figures.get(question, {}).get(name, [])]

    def ratio(self, question: str, name: str, figure: str = "took_s") -> float | None:
        """Return a library's speed as a part of blocking's; None where one is missing."""
        own = self.all(question, name, figure)
        base = self.all(question, "blocking", "took_s")
        return statistics.median(base) / statistics.median(own) if own and base else None

    def ratio_cell(self, question: str, name: str) -> str:
        ratio = self.ratio(question, name)
        if ratio is None:
            return "failed" if name in self.reasons.get(question, {}) else "-"
        if name == "blocking":
            return f"{statistics.median(self.all(question, name, 'took_s')):.3f} s"
        if not name.startswith("meantime"):
            return f"{ratio:.2g}"
        mark = ("✓" if ratio >= REACH[question] else "✗") if question in REACH else ""
        return f"{ratio:.2g} {mark}".strip()

    def busy_cell(self, name: str) -> str:
        ratio = self.ratio("write_all", name, "busy_s") if self.has_loop(name) else None
        return f"{ratio:.2g}" if ratio else "-"

    def step_cell(self, name: str, figure: str) -> str:
        steps_ms = self.all("write_all", name, figure) if self.has_loop(name) else []
        if not steps_ms:
            return "-"
        longest_ms = statistics.median(steps_ms)
        has_mark = name.startswith("meantime") and figure == "longest_step_ms"
        mark = ("✓" if longest_ms < LONGEST_STEP_MS_MAX else "✗") if has_mark else ""
        return f"{longest_ms:.1f} ms {mark}".strip()

    @staticmethod
    def has_loop(name: str) -> bool:
        """Return whether there is a loop beside which something is done."""
        return name != "blocking" and name not in LIMITS

    def row(self, question: str) -> list[str]:
        goal = f"≥ {REACH[question]:.2f}" if question in REACH else "-"
        return [QUESTIONS[question], goal, *(self.ratio_cell(question, n) for n in self.names)]

    def loop_rows(self) -> Iterator[list[str]]:
        """Yield what the loop has to do with a large file that is written."""
        yield [
            "  the same beside a task that is always ready",
            "-",
            *map(self.busy_cell, self.names),
        ]
        rows = (
            ("  the longest step of that task", f"< {LONGEST_STEP_MS_MAX} ms", "longest_step_ms"),
            ("  and when nothing is written, for as long", "-", "idle_step_ms"),
        )
        for title, goal, figure in rows:
            yield [title, goal, *(self.step_cell(name, figure) for name in self.names)]

    def rows(self) -> Iterator[list[str]]:
        for question in QUESTIONS:
            if question in self.figures:
                yield self.row(question)
            if question == "write_all" and question in self.figures:
                yield from self.loop_rows()

    def figure_rows(self) -> Iterator[list[str]]:
        for question in filter(self.figures.__contains__, QUESTIONS):
            cells = []
            for name in self.names:
                took_s = self.all(question, name, "took_s")
                if took_s:
                    lowest, highest = min(took_s), max(took_s)
                    median_s = statistics.median(took_s)
                    cells.append(f"{median_s:.3g} ({lowest:.3g} to {highest:.3g})")
                else:
                    cells.append("-")
            yield [QUESTIONS[question], *cells]

    def as_markdown(self) -> str:
        lines = ["# Files", "", *(f"- {key}: {value}" for key, value in self.machine.items())]
        versions = {name: version_of(name) for name in self.names if name in PACKAGES}
        lines += [f"- {name}: {version}" for name, version in versions.items()]
        lines += [f"- rounds: {self.rounds}", ""]
        lines += ["Speed as a part of blocking's, whose time is given; medians:", ""]
        lines += table(["question", "target", *self.names], list(self.rows()))
        lines += ["", "Seconds: median (lowest to highest):", ""]
        lines += table(["question", *self.names], list(self.figure_rows()))
        for question, reasons in self.reasons.items():
            lines += ["", *(f"{name} on {question}: {why}" for name, why in reasons.items())]
        return "\n".join(lines) + "\n"

    def take_over(self, path: Path) -> None:
        """Take from an earlier result what was not asked now."""
        earlier = json.loads(path.read_text())
        self.machine = earlier["machine"]
        self.figures = {**earlier["figures"], **self.figures}
        self.reasons = {**earlier["reasons"], **self.reasons}

    def save(self) -> None:
        (RESULTS / "files.json").write_text(json.dumps(self.__dict__, indent=1) + "\n")
        (RESULTS / "files.md").write_text(self.as_markdown())


PACKAGES = {"aiofiles", "anyio", "aiofile", "py-asyncfiles"}


def compare(
    questions: list[str], names: list[str], rounds: int, is_quick: bool, where: Path
) -> Answers:
    """Ask everybody everything, in turn, and print a row after each question."""
    sizes = Sizes(is_quick)
    free = os.statvfs(where)
    if free.f_bavail * free.f_frsize < sizes.room_bytes():
        raise SystemExit(
            f"{where} has too little room: the files need {sizes.room_bytes() / 1e9:.1f} GB. Name "
            "another folder with --folder, or ask with --quick."
        )
    answers = Answers(names, rounds)
    with tempfile.TemporaryDirectory(dir=where) as made:
        folder = Path(made)
        make_files(folder, sizes)
        print_row(["", "target", *names])
        for question in questions:
            for _ in range(rounds):
                for name in names:
                    found, reason = ask_in_process(name, question, folder, is_quick)
                    answers.add(question, name, found, reason)
            print_row(answers.row(question))
            if question == "write_all":
                for row in answers.loop_rows():
                    print_row(row)
    return answers


def print_row(cells: list[str]) -> None:
    title, goal, *others = cells
    cells = [f"{cell:>{CELL_WIDTH}}" for cell in others]
    print(f"{title:{TITLE_WIDTH}}{goal:>{GOAL_WIDTH}}" + "".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="questions with this in their name")
    parser.add_argument("--peers", default=",".join(LIBRARIES))
    parser.add_argument("--into", action="store_true", help="replace these in the kept results")
    parser.add_argument("--library", choices=LIBRARIES, help="ask this one, here")
    parser.add_argument("--question", choices=QUESTIONS)
    parser.add_argument("--tenth", action="store_true", help="ask for a tenth")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on a disk with room")
    options = parser.parse_args()
    if options.library:
        sizes = Sizes(options.quick, options.tenth)
        answer(options.library, options.question, options.folder, sizes)
        return
    questions = [question for question in QUESTIONS if options.only in question]
    names = options.peers.split(",")
    answers = compare(questions, names, options.rounds, options.quick, options.folder)
    if options.into:
        answers.take_over(RESULTS / "files.json")
    if options.into or (len(questions) == len(QUESTIONS) and not options.quick):
        answers.save()


if __name__ == "__main__":
    main()
