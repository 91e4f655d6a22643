"""The table of questions: each is one row of the result.

Several rows may come from the same run, such as an echo's speed and its processor time: a run is
told apart by its script, arguments and environment, and is made once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch

from peers import BASE, C_SERVER, PEERS

QUICK, USUAL, ALL = 0, 1, 2
"""Which runs ask a question: every one, all but the quick ones, or only those with --all."""

ASKED, NOT_ASKED, NOT_APPLICABLE = "asked", "-", "n/a"
"""Whether a peer is asked; if not, this stands in its cell."""

GROUPS = (
    *("callbacks", "primitives", "echo", "tls", "processes", "pipes", "offload", "http"),
    "databases",
)

CLIENT_ROUNDS_MAX = 3
"""For the questions with the slowest runs, each of a second or with a database beside it."""


@dataclass(frozen=True)
class Run:
    """A command that answers one question or several."""

    script: str
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    service: str = ""
    """The server that must run beside it; see `services`."""
    is_application: bool = False
    """Whether it uses somebody's library, which meantime is put beneath by `meantime run`."""


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
    patched: str = NOT_ASKED
    """Whether loops with a patch are asked. A patch changes connections, and little else."""
    is_about_offloading: bool = False
    """Whether libraries that run functions in other processes are asked, in place of most loops."""
    group: str = "echo"
    rounds_max: int = 0
    """No more rounds than this, however many are asked for; 0 where there is no such bound."""

    def asks(self, peer: str) -> bool:
        return self.asking(peer) == ASKED

    def asking(self, peer: str) -> str:
        """Return `ASKED`, or what stands in the cell of a peer that is not."""
        if self.is_about_offloading != bool(PEERS[peer].package):
            is_asked = self.is_about_offloading and bool(PEERS[peer].offloads)
            return ASKED if is_asked else NOT_ASKED
        if not fnmatch(peer, self.only) or (peer == C_SERVER and not self.with_c_server):
            return NOT_ASKED
        return self.patched if PEERS[peer].patch else ASKED

    def matches(self, patterns: list[str]) -> bool:
        """Return whether any pattern occurs in the key, the title, the group or the script."""
        names = (self.key, self.title.lower(), self.group, self.run.script)
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
        yield Question(
            key,
            title,
            unit,
            Run(script, arguments),
            tier=QUICK,
            patched=NOT_APPLICABLE,
            group="callbacks",
        )


def waits() -> Iterator[Question]:
    """Questions about what programs wait with: meantime's own against asyncio's on other loops."""
    rows = (
        ("gather", "gather of 10,000 sleep(0)", "awaits/s", ("--of", "sleep_zero")),
        ("gather", "gather of 10,000 sleep(1 ms)", "awaits/s", ("--of", "sleep_ms")),
        ("task_group", "TaskGroup of 10,000 sleep(0)", "tasks/s", ()),
        ("wait_for", "wait_for, ready", "waits/s", ("--when", "ready")),
        ("wait_for", "wait_for, ready in a turn", "waits/s", ("--when", "soon")),
        ("timeout", "timeout, ready", "waits/s", ("--when", "ready")),
        ("timeout", "timeout, ready in a turn", "waits/s", ("--when", "soon")),
        ("to_thread", "to_thread, round trip", "trips/s", ()),
        ("queues", "queue, ping-pong", "trips/s", ("--how", "ping_pong")),
        ("queues", "queue, bounded", "items/s", ("--how", "bounded")),
        ("locks", "lock, contended", "turns/s", ("--how", "contended")),
        ("locks", "lock, free", "turns/s", ("--how", "free")),
        ("locks", "semaphore", "turns/s", ("--how", "semaphore")),
        ("locks", "event, wakeups", "wakeups/s", ("--how", "event")),
    )
    for script, title, unit, arguments in rows:
        key = f"{script}_{arguments[1]}" if arguments else script
        run = Run(script, arguments)
        yield Question(key, title, unit, run, patched=NOT_APPLICABLE, group="primitives")
    memories = (
        ("memory_sleep", "memory of a task that sleeps", ()),
        ("memory_getter", "memory of a task that waits at a queue of its own", ("--at", "own")),
        ("memory_getter", "memory of a task in the line of a queue", ("--at", "one")),
    )
    for script, title, arguments in memories:
        yield Question(
            f"{script}_{arguments[1]}" if arguments else script,
            title,
            "bytes",
            Run(script, arguments),
            figure="bytes",
            more_is_better=False,
            patched=NOT_APPLICABLE,
            group="primitives",
        )


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
    usual = {
        "protocol": None,
        "buffered": {(1024, 100), (65536, 10)},
        "streams": {(1024, 1), (1024, 100), (1024, 1000), (65536, 10)},
    }
    quick = {("protocol", 64, 1), ("protocol", 1024, 100), ("protocol", 65536, 10)}
    quick.add(("streams", 1024, 100))
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
                    # In C there is one style. Of `buffered` it would say nothing more.
                    with_c_server=style != "buffered",
                )


def tcp_lines() -> Iterator[Question]:
    """Line by line: a message is one line, or sixty-four."""
    for size, line, title in ((1024, 1024, "a line of 1 KiB"), (4096, 64, "64 lines of 64 B")):
        for connections in (1, 100):
            words = ("--style", "lines", "--line", str(line), *shape(size, connections))
            yield Question(
                f"tcp_lines_{line}_x{connections}",
                f"TCP echo, readline, {title}, {connections_text(connections)}",
                "messages/s",
                Run("echo_tcp", words),
                with_c_server=True,
                tier=QUICK if (line, connections) == (64, 1) else USUAL,
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


def tls_echoes() -> Iterator[Question]:
    """The echo of TCP, with TLS between."""
    for size in (1024, 65_536):
        for connections in (1, 100):
            yield Question(
                f"tls_{size}_x{connections}",
                f"TLS echo, {size_text(size)}, {connections_text(connections)}",
                "messages/s",
                Run("echo_tls", shape(size, connections)),
                tier=QUICK if (size, connections) == (1024, 100) else USUAL,
                patched=ASKED,
                group="tls",
            )


def tls_churns() -> Iterator[Question]:
    """Handshakes. They come at the end, as `churn` does, and for the same reason.

    In a full one the client has more to compute than the server, and would be what is measured: so
    there the answer is what the server pays.
    """
    yield Question(
        "tls_churn_full",
        "server's CPU time, TLS connect (full handshake), 32 clients",
        "µs/connection",
        Run("churn_tls", ("--handshake", "full", *shape(64, 32))),
        figure="server_cpu_us",
        more_is_better=False,
        patched=ASKED,
        group="tls",
    )
    yield Question(
        "tls_churn_resumed",
        "TLS connect (resumed handshake), ask, read, close, 32 clients",
        "connections/s",
        Run("churn_tls", ("--handshake", "resumed", *shape(64, 32))),
        patched=ASKED,
        group="tls",
    )


def processes() -> Iterator[Question]:
    """Starting programs, from a small parent and from a large one."""
    for heap_mib, ending in ((0, ""), (800, ", from a heap of 800 MiB")):
        for at_once in (1, 20):
            yield Question(
                f"spawn_{'heap_' if heap_mib else ''}x{at_once}",
                f"spawn and wait, {at_once} at once{ending}",
                "programs/s",
                Run("spawn", ("--at-once", str(at_once), "--heap-mib", str(heap_mib))),
                tier=QUICK if (heap_mib, at_once) == (0, 1) else USUAL,
                patched=NOT_APPLICABLE,
                group="processes",
            )


def offloading() -> Iterator[Question]:
    """Functions in other processes: by each library, and by the executor of the standard one."""
    rows = (
        ("trips", "at_once", "1", "round trip to a process, 1 at once", "trips/s", QUICK),
        ("trips", "at_once", "10", "round trip to a process, 10 at once", "trips/s", USUAL),
        ("arrays", "way", "in", "array of 100 MB to a process", "arrays/s", USUAL),
        ("arrays", "way", "out", "array of 100 MB from a process", "arrays/s", USUAL),
        ("batches", "calls", "100000", "100,000 tiny calls in batches", "calls/s", USUAL),
        ("kill", "", "", "kill a job and use its place", "kills/s", USUAL),
    )
    for script, option, value, title, unit, tier in rows:
        words = (f"--{option.replace('_', '-')}", value) if option else ()
        yield Question(
            "_".join(filter(None, ("offload", script, value))),
            title,
            unit,
            Run(f"offload_{script}", words),
            tier=tier,
            is_about_offloading=True,
            patched=NOT_APPLICABLE,
            group="offload",
            rounds_max=CLIENT_ROUNDS_MAX,
        )


def pipes() -> Iterator[Question]:
    """Bytes through pipes, and files into sockets."""
    for size in (1024, 65_536):
        yield Question(
            f"pipe_{size}",
            f"pipe, chunks of {size_text(size)}",
            "chunks/s",
            Run("pipe_throughput", ("--size", str(size))),
            tier=QUICK if size == 65_536 else USUAL,
            patched=NOT_APPLICABLE,
            group="pipes",
        )
    for connections in (1, 10):
        yield Question(
            f"sendfile_x{connections}",
            f"sendfile, 10 MiB, {connections_text(connections)}",
            "files/s",
            Run("sendfile", ("--connections", str(connections))),
            tier=QUICK if connections == 1 else USUAL,
            base="asyncio",  # uvloop has no sendfile
            patched=ASKED,
            group="pipes",
        )


def web_servers() -> Iterator[Question]:
    """HTTP, from the least that a server can do to a framework."""
    servers = (("httptools", "httptools"), ("aiohttp", "aiohttp"), ("uvicorn", "uvicorn, FastAPI"))
    for name, title in servers:
        for connections in (1, 10, 100):
            yield Question(
                f"http_{name}_x{connections}",
                f"HTTP, {title}, {connections_text(connections)}",
                "requests/s",
                Run(f"http_{name}", ("--connections", str(connections)), is_application=True),
                tier=QUICK if connections == 10 else USUAL,
                patched=ASKED,
                group="http",
                rounds_max=CLIENT_ROUNDS_MAX,
            )


def databases() -> Iterator[Question]:
    """Clients of real servers. `--tasks` says how many ask at a time."""
    rows = (
        ("asyncpg_queries", "rows", 1, 1, "asyncpg, SELECT 1, 1 task"),
        ("asyncpg_queries", "rows", 1, 10, "asyncpg, SELECT 1, 10 tasks"),
        ("asyncpg_queries", "rows", 100, 1, "asyncpg, 100 rows, 1 task"),
        ("redis_commands", "batch", 1, 1, "redis-py, SET and GET, 1 task"),
        ("redis_commands", "batch", 1, 10, "redis-py, SET and GET, 10 tasks"),
        ("redis_commands", "batch", 100, 1, "redis-py, pipelines of 100, 1 task"),
    )
    for script, option, number, tasks, title in rows:
        client, _, unit = script.partition("_")
        yield Question(
            f"{client}_{option}_{number}_x{tasks}",
            title,
            f"{unit}/s",
            Run(
                script,
                (f"--{option}", str(number), "--tasks", str(tasks)),
                service="postgres" if client == "asyncpg" else client,
                is_application=True,
            ),
            tier=QUICK if number == tasks == 1 else USUAL,
            patched=ASKED,
            group="databases",
            rounds_max=CLIENT_ROUNDS_MAX,
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
    return [
        *in_process(),
        *waits(),
        *latencies(),
        *tcp_echoes(),
        *tcp_lines(),
        *other_echoes(),
        *tls_echoes(),
        *processes(),
        *offloading(),
        *pipes(),
        *web_servers(),
        *databases(),
        *costs(),
        *tls_churns(),
    ]
