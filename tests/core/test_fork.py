"""Fork: the child shares the parent's ring or epoll set, and must not touch it."""

import asyncio
import os
import socket
import warnings

import pytest

import meantime


def in_child(function):
    """Return what a forked child says: the text that the function returns, or its error."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads around
        pid = os.fork()
    if pid == 0:
        said = "nothing"
        try:
            said = function()
        except BaseException as error:  # noqa: BLE001  told to the parent
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(writer, str(said).encode())
            os._exit(0)
    os.close(writer)
    with open(reader) as pipe:  # noqa: PTH123  it is a descriptor
        said = pipe.read()
    assert os.waitpid(pid, 0) == (pid, 0)
    return said


async def echo():
    """Return what comes back from an echo server of our own."""

    async def answer(reader, writer):
        writer.write(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello")
        got = await reader.read()
        writer.close()
        await writer.wait_closed()
    return got.decode()


@pytest.mark.parametrize("has_run", [False, True])
def test_going_on_with_the_parents_loop_is_an_error_that_says_what_to_do(loop, has_run):
    """It would take the parent's events away."""
    if has_run:
        assert loop.run_until_complete(echo()) == "hello"

    def child():
        loop.run_forever()
        return "it ran"

    said = in_child(child)
    assert said.startswith("RuntimeError: ")
    assert "the process that this one was forked from" in said
    assert "Make a new event loop" in said
    assert loop.run_until_complete(echo()) == "hello"


def test_the_child_of_a_running_loop_cannot_go_on_with_it(loop):
    """os.fork() in a callback, which then returns to the loop, in both processes."""
    pids = []

    def fork():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pids.append(os.fork())
        loop.call_later(0, loop.stop)

    loop.call_soon(fork)
    parent = os.getpid()
    status = 1
    try:
        loop.run_forever()
    except RuntimeError as error:
        status = 7 if "forked from" in str(error) else 2
    finally:
        if os.getpid() != parent:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 7


@pytest.mark.parametrize("is_running", [False, True])
def test_the_child_may_run_a_loop_of_its_own(loop, is_running):
    def child():
        return meantime.run(echo())

    async def fork():
        return in_child(child)

    said = loop.run_until_complete(fork()) if is_running else in_child(child)
    assert said == "hello"
    assert loop.run_until_complete(echo()) == "hello"


def test_watching_with_an_inherited_loop_is_refused(loop):
    """An epoll set is shared: what the child adds, the parent would be told of."""
    fd = os.eventfd(0)

    def child():
        loop.add_reader(fd, print)

    said = in_child(child)
    os.close(fd)
    assert said.startswith("RuntimeError: ")
    assert "forked from" in said


@pytest.mark.parametrize("end", ["close", "remove_reader", "drop"])
def test_what_the_child_lets_go_the_parent_still_hears(backend, end):
    """Taking a descriptor out of a shared epoll set takes it out for both."""
    loop = meantime.EventLoop(backend=backend)
    loops = [loop]
    ours, theirs = socket.socketpair()
    heard = []

    def hear():
        heard.append(ours.recv(10))
        loops[0].stop()

    loop.add_reader(ours, hear)
    theirs.send(b"before")
    loop.run_forever()

    def child():
        if end == "close":
            loops[0].close()
            return "closed" if loops[0].is_closed() else "open"
        if end == "remove_reader":
            return loops[0].remove_reader(ours)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            loops.clear()
        return "dropped"

    del loop
    said = in_child(child)
    assert said == {"close": "closed", "remove_reader": "True", "drop": "dropped"}[end]
    theirs.send(b"after")
    loops[0].run_forever()
    assert heard == [b"before", b"after"]
    loops[0].remove_reader(ours)
    loops[0].close()
    ours.close()
    theirs.close()


def test_a_thread_safe_call_in_the_child_does_not_wake_the_parent(loop):
    """The descriptor that wakes is shared as well. At worst it is one turn for nothing."""

    def child():
        try:
            loop.call_soon_threadsafe(print)
        except RuntimeError:
            return "refused"
        return "queued"

    async def fork():
        return in_child(child)

    assert loop.run_until_complete(fork()) in {"refused", "queued"}
    assert loop.run_until_complete(echo()) == "hello"
