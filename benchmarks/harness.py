"""What all questions share: the command line, the pinned core, the clock, the answer in JSON."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import os
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from functools import cache
from time import perf_counter, process_time
from types import ModuleType

from peers import PEERS


class UnavailableError(Exception):
    """A question cannot be asked here: something that it needs beside the loop is missing."""


class Laps:
    """Times equal portions of work: a few to warm up, then more until enough time is measured.

    The work calls `more` after each lap and goes on while it is told so. A lap is a hundred
    operations or more, so that looking at the clock does not count.
    """

    def __init__(
        self, warm_up_s: float, measured_s: float, clock_s: Callable[[], float] = perf_counter
    ) -> None:
        self._warm_at_s = perf_counter() + warm_up_s
        self._measured_s = measured_s
        self._end_s = 0.0
        self._clock_s = clock_s
        self._from_s = 0.0
        self._spent_s = 0.0
        self._count = 0

    def more(self) -> bool:
        """Note that a lap has ended, and return whether to run another."""
        now_s = perf_counter()
        if not self._end_s:
            if now_s >= self._warm_at_s:
                self._end_s = now_s + self._measured_s
                self._from_s = self._clock_s()
            return True
        self._count += 1
        if now_s < self._end_s:
            return True
        self._spent_s = self._clock_s() - self._from_s
        return False

    def count_by(self, clock_s: Callable[[], float]) -> None:
        """Measure by another clock than the wall's."""
        self._clock_s = clock_s

    def per_second(self, operations_per_lap: int) -> float:
        """Return how many operations were done in a second, over all measured laps."""
        return self._count * operations_per_lap / self._spent_s


def nothing() -> None:
    """The callback of the questions that ask what a callback costs."""


class Chosen:
    """What this process measures with."""

    primitives: ModuleType = asyncio
    peer: str = ""


def primitives() -> ModuleType:
    """Return the module whose sleep, gather, Queue and so on the peer in question uses.

    meantime's loops use meantime's, all others asyncio's. `ask` and `use_primitives_of` choose; the
    option --primitives overrules them, to tell what the loop gives from what they give.
    """
    return Chosen.primitives


def use_primitives_of(peer: str, instead: str = "") -> None:
    Chosen.peer = peer
    Chosen.primitives = importlib.import_module(instead or PEERS[peer].primitives)


def chosen_peer() -> str:
    """Return the name of the peer in question."""
    return Chosen.peer


def command_line(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every question has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--loop", required=True, choices=PEERS, help="what to measure")
    parser.add_argument("--seconds", type=float, default=0.3, help="measured time")
    parser.add_argument("--warm-up", type=float, default=0.1, help="seconds before it")
    parser.add_argument("--primitives", default="", help="the module to take sleep and so on from")
    return parser


@cache
def cores() -> tuple[int, int]:
    """Return the core for the server and the one for its clients: the same if there is one.

    The answer is kept, since after pinning only one core would be seen.
    """
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[1 % len(usable)]


def pin_to_server_core() -> None:
    os.sched_setaffinity(0, {cores()[0]})


@contextlib.contextmanager
def on_client_core() -> Iterator[None]:
    """Let this thread, and so the programs that it starts, run where the clients do."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores()[1]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


def report(loop_name: str, **figures: float) -> None:
    """Print the answer: one line of JSON."""
    print(json.dumps({"loop": loop_name, **figures}), flush=True)


def ask(
    description: str | None,
    measure: Callable[..., float],
    *,
    is_pinned: bool = True,
    **settings: int | list[str],
) -> None:
    """Run a question that needs no network, and print its answer.

    `measure(loop, laps, **settings)` returns operations per second. Each of `settings` becomes an
    option of the command line: a number with that default, or one of several words, by default
    the first.
    """
    parser = command_line(description)
    for name, value in settings.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, list):
            parser.add_argument(option, choices=value, default=value[0])
        else:
            parser.add_argument(option, type=int, default=value)
    parser.add_argument("--cost", action="store_true", help="per second of processor time")
    options = parser.parse_args()
    if not PEERS[options.loop].factory:
        parser.error(f"{options.loop} is a server; this question needs a loop")
    if is_pinned:
        pin_to_server_core()
    loop: AbstractEventLoop = PEERS[options.loop].new_loop()
    use_primitives_of(options.loop, options.primitives)
    clock_s = process_time if options.cost else perf_counter
    laps = Laps(options.warm_up, options.seconds, clock_s)
    per_second = measure(loop, laps, **{name: getattr(options, name) for name in settings})
    loop.close()
    report(options.loop, per_second=per_second)
