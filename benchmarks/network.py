"""What the questions about the network share: the compiled tools, and a server beside a client.

The server runs in the process of the question, pinned to one core. The client is `loadgen`, a
compiled process on another core. A thread of the server's process waits for it, asleep.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

from harness import command_line, cores, pin_to_server_core, report, use_primitives_of
from peers import C_SERVER, PEERS

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
BACKLOG = 4096
LOADGEN_STOP_S = 30
"""More than its warm-up, its measured time and its own bound on silence together."""

Result = TypeVar("Result")
Words = tuple[str, ...]
Server = tuple[Words, object]
"""How `loadgen` finds the server, and what must stay alive while it serves."""
StartServer = Callable[[AbstractEventLoop, str], Awaitable[Server]]
"""Starts serving on a loop; the text is a path for those who serve on a Unix socket."""


class Echo(asyncio.Protocol):
    """Sends back what arrives."""

    __slots__ = ("transport",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[attr-defined]


def compiled(name: str) -> str:
    """Return the path of a tool, compiled from its sources beside this file if they are newer.

    Raises:
        RuntimeError: there is no C compiler, or it did not accept the source.
    """
    source, program = HERE / f"{name}.c", BUILD / name
    changed_s = max(path.stat().st_mtime for path in [source, *HERE.glob("*.h")])
    if program.exists() and program.stat().st_mtime >= changed_s:
        return str(program)
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError(f"{source.name} cannot be compiled: install gcc, or set CC.")
    BUILD.mkdir(exist_ok=True)
    # Under a name of its own first, since several questions may find it missing at once.
    fresh = BUILD / f"{name}.{os.getpid()}"
    subprocess.run(
        [compiler, "-O2", "-Wall", "-Wextra", "-pthread", "-o", fresh, source, "-ldl"], check=True
    )
    fresh.replace(program)
    return str(program)


def network_command_line(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every question about the network."""
    parser = command_line(description)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--size", type=int, default=64, help="bytes of a message")
    return parser


def tcp_words(server: asyncio.AbstractServer) -> Words:
    port = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    return ("--tcp", str(port))


def loadgen_command(target: Words, *words: object) -> list[str]:
    """Return the command that runs the client on its own core.

    With a core of its own it polls without sleeping: as a client on another machine, it then
    costs the server no wake-ups, and is always there before the server is.
    """
    server_core, client_core = cores()
    busy = ["--busy"] if client_core != server_core else []
    where = ["--cpu", str(client_core), *busy]
    return [compiled("loadgen"), *target, *where, *map(str, words)]


def run_loadgen(command: list[str]) -> dict[str, float]:
    """Run the client to its end and return its figures.

    Raises:
        RuntimeError: the client failed, with what it said.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LOADGEN_STOP_S, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or f"loadgen ended with {done.returncode}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def run_beside(loop: AbstractEventLoop, work: Callable[[], Result]) -> Result:
    """Run the loop in this thread while `work` runs in another; return or raise what it does."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def do_work() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=do_work)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


@contextlib.contextmanager
def c_server(kind: str, path: str) -> Iterator[tuple[Words, int]]:
    """Run the server written in C; give how to find it, and its process id."""
    words = [compiled("echo_epoll"), f"--{kind}", *([path] if kind == "unix" else [])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().split()[-1]
            yield (f"--{kind}", path if kind == "unix" else port), process.pid
        finally:
            process.kill()


def serve(
    loop_name: str, kind: str, start: StartServer, work: Callable[[Words, int], Result]
) -> Result:
    """Serve with the named peer, on the server's core, while `work(target, server_pid)` runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        pin_to_server_core()
        if loop_name == C_SERVER:
            with c_server(kind, path) as (target, pid):
                return work(target, pid)
        loop = PEERS[loop_name].new_loop()
        target, keep_alive = loop.run_until_complete(start(loop, path))
        result = run_beside(loop, lambda: work(target, os.getpid()))
        end_tasks(loop)
        del keep_alive
        loop.close()
        return result


def end_tasks(loop: AbstractEventLoop) -> None:
    """Cancel what still runs, and let it end: the client has gone, so there is not much."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()

    async def end() -> None:
        await asyncio.gather(*tasks, return_exceptions=True)

    loop.run_until_complete(end())


def ask_network(
    options: argparse.Namespace, start: StartServer, *load: object, kind: str = "tcp"
) -> None:
    """Run a question whose client is `loadgen` with the words in `load`; print its answer."""

    def work(target: Words, server_pid: int) -> dict[str, float]:
        words = ("--connections", options.connections, "--request", options.size)
        times = ("--warm-up", options.warm_up, "--seconds", options.seconds)
        return run_loadgen(loadgen_command(target, *words, *times, "--pid", server_pid, *load))

    use_primitives_of(options.loop, options.primitives)
    report(options.loop, **serve(options.loop, kind, start, work))
