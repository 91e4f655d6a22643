"""What does it cost to be watched by guard, and to be recorded for the report?

python benchmarks/watched.py                       every question, both pollers: eight minutes
python benchmarks/watched.py --only sleep --rounds 50

A price of a few hundredths is less than what two runs of a program differ by. So each question has
one process, which runs the same work in turns, watched and not watched: half a second each. Each
pair gives a ratio of speeds, watched to unwatched; the table has their median, and between which
figures the middle half of them lies. A ratio below one is a price.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import echo_tcp
import machine
import sleep_zero
from harness import Laps, pin_to_server_core, use_primitives_of
from network import Words, loadgen_command, run_loadgen, serve
from peers import PEERS
from tables import short, table

from meantime.guard import guard
from meantime.see.recorder import Recorder

RESULTS = Path(__file__).resolve().parent / "results"
LOOPS = ("meantime-io_uring", "meantime-epoll")
ECHO = 0.98
SWITCHING = 0.95
WARM_UP_S = 0.5
MESSAGE_BYTES = 1024

QUESTIONS: dict[str, tuple[str, str, float]] = {
    "sleep_1": ("sleep(0), alone", "sleeps/s", SWITCHING),
    "sleep_100": ("sleep(0), 100 tasks", "sleeps/s", SWITCHING),
    "protocol_1": ("TCP echo, protocol, 1 KiB, 1 connection", "messages/s", ECHO),
    "protocol_100": ("TCP echo, protocol, 1 KiB, 100 connections", "messages/s", ECHO),
    "streams_1": ("TCP echo, streams, 1 KiB, 1 connection", "messages/s", ECHO),
    "streams_100": ("TCP echo, streams, 1 KiB, 100 connections", "messages/s", ECHO),
}
"""What is asked, in what unit, and which part of the speed is to be left at least."""


@contextlib.contextmanager
def watching(is_on: bool) -> Iterator[None]:
    """Do what `meantime run --report` does: guard, and the record that the report is made of."""
    if not is_on:
        yield
        return
    recorder = Recorder()
    recorder.start()
    # A program for which guard finds nothing is told of nothing.
    with guard(action="log"):
        yield
    recorder.stop()


def sleeps_per_second(loop_name: str, tasks: int, seconds: float) -> float:
    """Return how often tasks gave way to each other."""
    pin_to_server_core()
    loop = PEERS[loop_name].new_loop()
    try:
        return sleep_zero.measure(loop, Laps(WARM_UP_S, seconds), tasks)
    finally:
        loop.close()


def messages_per_second(loop_name: str, style: str, connections: int, seconds: float) -> float:
    """Return how many messages a server answered."""

    def work(target: Words, server_pid: int) -> float:
        words = ("--connections", connections, "--request", MESSAGE_BYTES)
        times = ("--warm-up", WARM_UP_S, "--seconds", seconds, "--pid", server_pid)
        return run_loadgen(loadgen_command(target, *words, *times))["per_second"]

    return serve(loop_name, "tcp", echo_tcp.STARTERS[style], work)


def asked(question: str, loop_name: str, seconds: float) -> Callable[[], float]:
    """Return the function that does the work of a question once."""
    kind, _, number = question.partition("_")
    if kind == "sleep":
        return lambda: sleeps_per_second(loop_name, int(number), seconds)
    return lambda: messages_per_second(loop_name, kind, int(number), seconds)


def answer(question: str, loop_name: str, rounds: int, seconds: float) -> None:
    """Do the work in turns and print all speeds, one line of JSON."""
    use_primitives_of(loop_name)
    work = asked(question, loop_name, seconds)
    speeds: tuple[list[float], list[float]] = ([], [])
    for turn in range(2 * rounds):
        # Each comes first as often as the other.
        is_watched = turn % 4 in (1, 2)
        with watching(is_watched):
            speeds[is_watched].append(work())
    print(json.dumps({"unwatched": speeds[0], "watched": speeds[1]}), flush=True)


def ask(question: str, loop_name: str, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Have a process of its own answer a question."""
    words = ["--ask", question, "--loop", loop_name]
    times = ["--rounds", str(rounds), "--seconds", str(seconds)]
    done = subprocess.run(
        [sys.executable, __file__, *words, *times], stdout=subprocess.PIPE, text=True, check=True
    )
    answered: dict[str, list[float]] = json.loads(done.stdout)
    return answered


def row(question: str, loop_name: str, speeds: dict[str, list[float]]) -> list[str]:
    """Return a row of the table."""
    title, unit, target = QUESTIONS[question]
    ratios = [b / a for a, b in zip(speeds["unwatched"], speeds["watched"], strict=True)]
    ratio = statistics.median(ratios)
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratio,) * 3
    return [
        title,
        loop_name,
        *(f"{short(statistics.median(speeds[key]))} {unit}" for key in ("unwatched", "watched")),
        f"≥ {target:.2f}",
        f"{ratio:.3f} {'✓' if ratio >= target else '✗'}",
        f"{low:.3f} to {high:.3f}",
    ]


def compare(names: list[str], loops: list[str], rounds: int, seconds: float, name: str) -> None:
    """Ask everything, print the table, and keep it."""
    about = machine.describe()
    answers: dict[str, dict[str, dict[str, list[float]]]] = {}
    rows = []
    for question in names:
        for loop_name in loops:
            speeds = ask(question, loop_name, rounds, seconds)
            answers.setdefault(question, {})[loop_name] = speeds
            rows.append(row(question, loop_name, speeds))
            print("  ".join(rows[-1]), flush=True)
    head = ["question", "loop", "unwatched", "watched", "target", "ratio", "middle half"]
    facts = [f"- {key}: {value}" for key, value in about.items()]
    text = [f"# Watched and not watched, {rounds} pairs", "", *facts, "", *table(head, rows), ""]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text("\n".join(text))
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": about, "answers": answers}))
    print("\n".join(["", *table(head, rows)]))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="questions: a part of the name")
    parser.add_argument("--loop", choices=LOOPS, help="one loop (both)")
    parser.add_argument("--rounds", type=int, default=24, help="pairs of each (24)")
    parser.add_argument("--seconds", type=float, default=0.3, help="measured time of a run (0.3)")
    parser.add_argument("--name", default="watched", help="of the files in results/ (watched)")
    parser.add_argument("--ask", choices=QUESTIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds is the number of pairs: 1 at least")
    if options.ask:
        answer(options.ask, options.loop or LOOPS[0], options.rounds, options.seconds)
        return
    names = [name for name in QUESTIONS if options.only in name]
    if not names:
        parser.error(f"no question has {options.only!r} in its name: {', '.join(QUESTIONS)}")
    loops = [options.loop] if options.loop else [*LOOPS]
    compare(names, loops, options.rounds, options.seconds, options.name)


if __name__ == "__main__":
    main()
