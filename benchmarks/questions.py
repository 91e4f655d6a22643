"""The table of questions: each is one row of the result.

Several rows may come from the same run, such as an echo's speed and its processor time: a run is
told apart by its script, arguments and environment, and is made once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch

from peers import BASE, C_SERVER

QUICK, USUAL, ALL = 0, 1, 2
"""Which runs ask a question: every one, all but the quick ones, or only those with --all."""


@dataclass(frozen=True)
class Run:
    """A command that answers one question or several."""

    script: str
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Question:
    """One row: which run answers it, and how its figure is read."""

    key: str
    title: str
    unit: str
    run: Run
    figure: str = "per_second"
    more_is_better: bool = True
    tier: int = USUAL
    base: str = BASE
    """The peer whose figure is 1 in the ratios."""
    base_key: str = ""
    """The question whose figures the base has, where it is not this one."""
    with_c_server: bool = False
    only: str = "*"
    """A pattern for the peers that are asked."""

    def asks(self, peer: str) -> bool:
        return fnmatch(peer, self.only) and (self.with_c_server or peer != C_SERVER)

    def matches(self, patterns: list[str]) -> bool:
        """Return whether any pattern occurs in the key, the title or the script's name."""
        names = (self.key, self.title.lower(), self.run.script)
        return any(fnmatch(name, f"*{pattern.lower()}*") for pattern in patterns for name in names)


def size_text(size: int) -> str:
    return f"{size // 1024} KiB" if size >= 1024 else f"{size} B"


def connections_text(connections: int) -> str:
    return f"{connections:,} connection{'s' if connections > 1 else ''}"


def in_process() -> Iterator[Question]:
    """Questions about the loop alone, without a network."""
    rows = (
        ("call_soon_chain", "call_soon, chain", "callbacks/s", ()),
        ("call_soon_fanout", "call_soon, fan-out of 1,000", "callbacks/s", ()),
        ("timers_random", "100,000 random timers", "timers/s", ()),
        ("timers_cancel", "call_later and cancel", "timers/s", ()),
        ("threadsafe_burst", "call_soon_threadsafe, burst", "callbacks/s", ()),
        ("threadsafe_round_trip", "call_soon_threadsafe, round trip", "trips/s", ()),
        ("sleep_zero", "sleep(0), alone", "sleeps/s", ("--tasks", "1")),
        ("sleep_zero", "sleep(0), 100 tasks", "sleeps/s", ("--tasks", "100")),
        ("create_task", "create_task and await", "tasks/s", ()),
    )
    for script, title, unit, arguments in rows:
        key = f"{script}_{arguments[1]}" if arguments else script
        yield Question(key, title, unit, Run(script, arguments), tier=QUICK)


def latencies() -> Iterator[Question]:
    """The round trip of one connection; for meantime also with spinning, against the same base."""
    for spin, only in (((), "*"), ((("MEANTIME_SPIN_US", "50"),), "meantime*")):
        for percentile in ("p50", "p99"):
            name = f"latency_{percentile}"
            yield Question(
                f"{name}_spinning" if spin else name,
                f"TCP round trip, {percentile}" + (", spinning 50 µs" if spin else ""),
                "µs",
                Run("latency", (), spin),
                figure=f"{percentile}_us",
                more_is_better=False,
                tier=QUICK if percentile == "p50" else USUAL,
                base_key=name,
                with_c_server=not spin,
                only=only,
            )


def shape(size: int, connections: int) -> tuple[str, ...]:
    return ("--size", str(size), "--connections", str(connections))


def tcp_echoes() -> Iterator[Question]:
    """Every size with every number of connections, served in three styles."""
    usual = {"protocol": None, "buffered": {(1024, 100), (65536, 10)}, "streams": {(1024, 100)}}
    quick = {("protocol", 64, 1), ("protocol", 1024, 100), ("protocol", 65536, 10)}
    for style, wanted in usual.items():
        for size in (64, 1024, 65_536):
            for connections in (1, 10, 100, 1000):
                tier = USUAL if wanted is None or (size, connections) in wanted else ALL
                yield Question(
                    f"tcp_{style}_{size}_x{connections}",
                    f"TCP echo, {style}, {size_text(size)}, {connections_text(connections)}",
                    "messages/s",
                    Run("echo_tcp", ("--style", style, *shape(size, connections))),
                    tier=QUICK if (style, size, connections) in quick else tier,
                    with_c_server=style == "protocol",
                )


def other_echoes() -> Iterator[Question]:
    """Split writes, plain sockets, datagrams and Unix sockets."""
    rows = (
        ("header_body", "header and body", 64, ((10, QUICK), (100, ALL)), "connection"),
        ("echo_sock", "sock_recv, sock_sendall", 1024, ((1, 1), (10, 1), (100, 0)), "connection"),
        ("echo_udp", "UDP echo", 64, ((1, USUAL), (64, QUICK)), "client"),
        ("echo_unix", "Unix echo", 1024, ((1, ALL), (10, QUICK), (100, ALL)), "connection"),
    )
    for script, title, size, counts, noun in rows:
        for connections, tier in counts:
            ending = "s" if connections > 1 else ""
            yield Question(
                f"{script}_x{connections}",
                f"{title}, {size_text(size)}, {connections} {noun}{ending}",
                "messages/s",
                Run(script, shape(size, connections)),
                tier=tier,
                with_c_server=script in ("echo_udp", "echo_unix"),
            )


def costs() -> Iterator[Question]:
    """What a server pays.

    Churn comes last: the connections that it closed haunt the kernel for a minute.
    """
    yield Question(
        "server_cpu",
        "server's CPU time, TCP echo, 1 KiB, 100 connections",
        "µs/message",
        Run("echo_tcp", ("--style", "protocol", *shape(1024, 100))),
        figure="server_cpu_us",
        more_is_better=False,
        tier=QUICK,
        base=C_SERVER,
        with_c_server=True,
    )
    yield Question(
        "memory_idle",
        "memory of an idle connection, 5,000 connections",
        "bytes",
        Run("memory_idle", ("--connections", "5000")),
        figure="bytes",
        more_is_better=False,
        with_c_server=True,
    )
    yield Question(
        "churn",
        "connect, ask, read, close, 32 clients",
        "connections/s",
        Run("churn", ("--connections", "32")),
        tier=QUICK,
        with_c_server=True,
    )


def by_cost(question: Question) -> Question:
    """Return the question about processor time instead of time.

    Other programs on the same core make a loop slow, but hardly make it work more: while they
    run, cost is the better figure. Servers then answer in µs of processor time for a message.
    """
    run = question.run
    if question.figure != "per_second":
        return question
    if "--connections" not in run.arguments:
        return replace(question, run=replace(run, arguments=(*run.arguments, "--cost")))
    unit = f"µs/{question.unit.removesuffix('s/s')}"
    return replace(question, figure="server_cpu_us", unit=unit, more_is_better=False)


def questions() -> list[Question]:
    """Return all questions, in the order in which they are asked and shown."""
    return [*in_process(), *latencies(), *tcp_echoes(), *other_echoes(), *costs()]
