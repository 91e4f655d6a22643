"""anyio: the programs of its page, and what it builds on a loop: sockets, threads, portals."""

import asyncio
import functools
import os
import signal
import socket
import sys
import threading

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

import meantime
from tests.ecosystem.pages import (
    Page,
    check_installation,
    check_nothing_is_left_out,
    run_command,
)

PAGE = Page("anyio")
PROGRAMS = PAGE.commands_with("python", "meantime")


def test_the_page_says_what_to_install():
    check_installation(PAGE)
    check_nothing_is_left_out(PAGE, "python", "meantime")


@pytest.mark.slow
@pytest.mark.parametrize("command", PROGRAMS, ids=str)
def test_every_program_of_the_page_prints_what_is_promised(command, backend, tmp_path):
    PAGE.write_files(tmp_path)
    done = run_command(command, tmp_path, backend)
    assert done.stdout.strip() == command.output
    assert done.returncode == 0


@pytest.fixture
def options(backend):
    return {"loop_factory": functools.partial(meantime.EventLoop, backend=backend)}


@pytest.fixture
def run(options):
    return functools.partial(anyio.run, backend_options=options)


def test_streams_echo_and_end(run):
    async def echo(stream):
        async with stream:
            async for data in stream:
                await stream.send(data)

    async def main():
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, echo)
            received = b""
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                group.start_soon(stream.send, b"x" * 1_000_000)
                while len(received) < 1_000_000:
                    received += await stream.receive()
                await stream.send_eof()
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()
            group.cancel_scope.cancel()
        return received

    assert run(main) == b"x" * 1_000_000


def test_a_raw_socket_is_waited_for(run):
    async def main():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            with anyio.move_on_after(0.05) as nothing_comes:
                await anyio.wait_readable(ours)
            theirs.send(b"now")
            await anyio.wait_readable(ours)
            await anyio.wait_writable(ours)
            return nothing_comes.cancelled_caught, ours.recv(3)

    assert run(main) == (True, b"now")


def test_threads_call_and_are_called(run):
    async def main():
        async def in_the_loop(number):
            await anyio.sleep(0)
            return number, threading.get_ident()

        def in_a_thread():
            return anyio.from_thread.run(in_the_loop, 42), threading.get_ident()

        (number, loop_thread), thread = await anyio.to_thread.run_sync(in_a_thread)
        return number, loop_thread == threading.get_ident(), thread != loop_thread

    assert run(main) == (42, True, True)


def test_a_portal_runs_tasks_for_other_threads(options):
    async def which_loop():
        return type(asyncio.get_running_loop())

    with anyio.from_thread.start_blocking_portal(backend_options=options) as portal:
        futures = [portal.start_task_soon(which_loop) for _ in range(50)]
        assert {future.result() for future in futures} == {meantime.EventLoop}


def test_a_signal_is_received(run):
    async def main():
        with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
            os.kill(os.getpid(), signal.SIGUSR1)
            return await anext(signals)

    assert run(main) == signal.SIGUSR1


def test_a_process_is_run_and_talked_to(run):
    shout = [sys.executable, "-c", "import sys; print(sys.stdin.read().upper(), end='')"]

    async def main():
        done = await anyio.run_process(shout, input=b"all at once")
        async with await anyio.open_process(shout) as process:
            for word in (b"piece ", b"by ", b"piece"):
                await process.stdin.send(word)
            await process.stdin.aclose()
            pieces = b"".join([piece async for piece in process.stdout])
            return done.stdout, pieces, await process.wait()

    assert run(main) == (b"ALL AT ONCE", b"PIECE BY PIECE", 0)
