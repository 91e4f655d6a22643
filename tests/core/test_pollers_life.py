"""The life of a poller: threads that take turns with it, addresses that it lets go, its end."""

import asyncio
import os
import socket
import threading

import pytest

import meantime


def in_thread(function, *arguments):
    """Return what the function returns in a thread of its own, or raise what it raises."""
    outcome = []

    def run():
        try:
            outcome.append((function(*arguments), None))
        except BaseException as error:  # noqa: BLE001  raised again below
            outcome.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


async def echo_once(loop):
    """Send a byte to and fro through a server of the loop's."""

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data)
            self.transport.close()

    server = await loop.create_server(Echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"x")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    return answer


# --- Threads that take turns ----------------------------------------------------------------------


def test_a_loop_runs_in_one_thread_and_then_in_another(loop):
    """A ring serves one thread only, and asyncio's loops do not mind."""
    for _ in range(3):
        assert in_thread(loop.run_until_complete, echo_once(loop)) == b"x"
    assert loop.run_until_complete(echo_once(loop)) == b"x"


def test_what_one_thread_watched_is_heard_in_another(loop):
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    heard = []

    def hear():
        heard.append(threading.get_ident())
        os.eventfd_read(fd)
        loop.stop()

    loop.add_reader(fd, hear)
    for _ in range(3):
        os.eventfd_write(fd, 1)
        in_thread(loop.run_forever)
    os.eventfd_write(fd, 1)
    loop.run_forever()
    loop.remove_reader(fd)
    os.close(fd)
    assert len(heard) == 4
    assert heard[-1] == threading.get_ident()


def test_an_open_connection_moves_with_its_loop(loop):
    ours, theirs = socket.socketpair()

    async def connect():
        return await asyncio.open_connection(sock=ours)

    async def receive():
        return await reader.read(10)

    reader, writer = loop.run_until_complete(connect())
    theirs.send(b"one")
    assert in_thread(loop.run_until_complete, receive()) == b"one"
    theirs.send(b"two")
    assert loop.run_until_complete(receive()) == b"two"

    async def close():
        writer.close()
        await writer.wait_closed()

    in_thread(loop.run_until_complete, close())
    assert theirs.recv(1) == b""
    theirs.close()


def test_a_loop_may_be_watched_before_its_thread_starts(loop):
    """The common way of a background loop: made and filled here, run there."""
    fd = os.eventfd(1)
    loop.add_reader(fd, loop.stop)
    in_thread(loop.run_forever)
    loop.remove_reader(fd)
    os.close(fd)


@pytest.mark.parametrize("has_run", [False, True])
def test_a_loop_may_be_closed_by_another_thread(backend, has_run):
    """As Runner in a thread, or a test's fixture, does."""
    loop = meantime.EventLoop(backend=backend)
    fd = os.eventfd(0)
    loop.add_reader(fd, print)
    if has_run:
        in_thread(loop.run_until_complete, echo_once(loop))
    loop.add_reader(fd, loop.stop)
    loop.close()
    os.close(fd)
    assert loop.is_closed()


def test_a_loop_that_this_thread_ran_may_be_closed_by_another(backend):
    loop = meantime.EventLoop(backend=backend)
    loop.run_until_complete(echo_once(loop))
    in_thread(loop.close)
    assert loop.is_closed()


def test_a_loop_cannot_be_closed_while_another_thread_runs_it(loop):
    started = threading.Event()
    loop.call_soon(started.set)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    started.wait()
    with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
        loop.close()
    with pytest.raises(RuntimeError, match="already running"):
        loop.run_forever()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def test_many_loops_in_many_threads_do_not_disturb_each_other(backend):
    def run():
        loop = meantime.EventLoop(backend=backend)
        try:
            return [loop.run_until_complete(echo_once(loop)) for _ in range(5)]
        finally:
            loop.close()

    answers = []
    threads = [threading.Thread(target=lambda: answers.append(run())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[b"x"] * 5] * 6


# --- Letting go -----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_told", [False, True])
def test_a_stopped_server_frees_its_address_at_once(loop, is_told):
    """While a connection waits to be accepted, too: its event has come and is not told yet.

    A poll request holds the socket open, and one that has just fired is the hardest to remove.
    """

    async def session():
        for _ in range(10):
            server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            clients = [socket.create_connection(address) for _ in range(3)]
            if is_told:
                await asyncio.sleep(0)
            server.close()
            again = socket.socket()
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(address)
            again.listen()
            again.close()
            for client in clients:
                client.close()
            await server.wait_closed()
            await asyncio.sleep(0)

    loop.run_until_complete(session())


def test_closing_a_loop_frees_the_address_of_its_server(backend):
    """A restarted server must not find its own address in use."""
    address = ("127.0.0.1", 0)
    for _ in range(5):
        loop = meantime.EventLoop(backend=backend)
        server = loop.run_until_complete(
            loop.create_server(asyncio.Protocol, *address, reuse_address=True)
        )
        address = server.sockets[0].getsockname()
        client = socket.create_connection(address)
        server.close()
        loop.close()
        client.close()


def test_a_closed_connection_is_closed_for_the_peer_at_once(loop):
    """A request that is still armed would hold the file open, and the peer would wait."""
    ours, theirs = socket.socketpair()

    async def connect_and_abort():
        _, writer = await asyncio.open_connection(sock=ours)
        writer.transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop.run_until_complete(connect_and_abort())
    theirs.setblocking(False)
    assert theirs.recv(1) == b""
    theirs.close()


def test_a_closed_loop_watches_nothing(backend):
    loop = meantime.EventLoop(backend=backend)
    fds = [os.eventfd(1) for _ in range(10)]
    for fd in fds:
        loop.add_reader(fd, print)
    loop.close()
    assert loop._watch_count() == 0
    assert not loop.remove_reader(fds[0])
    for fd in fds:
        os.close(fd)
