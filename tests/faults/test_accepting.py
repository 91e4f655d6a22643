"""Accepting: a connection that went before it came, and a machine without descriptors."""

import _socket
import asyncio
import errno
import socket

import pytest

import meantime
from tests.core.test_listener import Guests, clients, listening
from tests.core.wires import Recorder, take, turn, turn_until
from tests.faults.injector import Faults

# What accept(2) says of the one connection that it was about to return.
OF_ONE_CONNECTION = [
    errno.EINTR,
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.EPERM,
    errno.ENETDOWN,
    errno.EHOSTUNREACH,
]
OUT_OF_RESOURCES = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM]


@pytest.fixture
def contexts(loop):
    """What was given to the loop's exception handler."""
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    return contexts


@pytest.fixture
def later(loop, monkeypatch):
    """What the listener wants to be called after its pause of a second."""
    later = []
    monkeypatch.setattr(loop, "call_later", lambda delay, call: later.append((delay, call)))
    return later


@pytest.mark.parametrize("number", OF_ONE_CONNECTION, ids=errno.errorcode.get)
def test_a_connection_that_fails_keeps_no_other_from_coming(loop, faults, contexts, number):
    guests = Guests()
    with listening(loop, guests) as (_, sock), clients(20, sock):
        rule = faults.plan("accept4", number, chance=0.5)
        turn_until(loop, lambda: len(guests.made) == 20)
        assert rule.injected > 0
        assert contexts == []


@pytest.mark.parametrize("number", OUT_OF_RESOURCES, ids=errno.errorcode.get)
def test_without_resources_connections_wait_and_it_is_said(loop, faults, contexts, later, number):
    guests = Guests()
    with listening(loop, guests) as (_, sock), clients(10, sock):
        rule = faults.plan("accept4", number, after=4, times=2)
        turn_until(loop, lambda: contexts)
        turn(loop, 5)
        assert len(guests.made) == 4
        for attempt in (1, 2):
            assert rule.injected == attempt
            assert [context["exception"].errno for context in contexts] == [number] * attempt
            delay, try_again = later.pop()
            assert delay == 1
            try_again()
            turn(loop, 5)
        turn_until(loop, lambda: len(guests.made) == 10)
        assert later == []


@pytest.mark.slow
@pytest.mark.parametrize("number", OUT_OF_RESOURCES, ids=errno.errorcode.get)
def test_after_a_second_it_is_tried_again(loop, faults, contexts, number):
    guests = Guests()
    with listening(loop, guests) as (_, sock), clients(3, sock):
        faults.plan("accept4", number, after=1, times=1)
        loop.call_later(0.9, lambda: contexts.append(len(guests.made)))
        turn_until(loop, lambda: len(guests.made) == 3)
        assert contexts[1] == 1  # nobody was accepted before the second was over


def test_an_error_that_does_not_pass_is_said_and_leaves_the_loop_its_time(
    loop, faults, contexts, later
):
    """A filter that forbids accept4(2) answers EPERM for ever. It must not spin in silence."""
    guests = Guests()
    with listening(loop, guests) as (_, sock), clients(1, sock):
        rule = faults.plan("accept4", errno.EPERM)
        turn_until(loop, lambda: contexts)
        calls = rule.injected
        turn(loop, 20)
        assert rule.injected == calls
        assert [context["exception"].errno for context in contexts] == [errno.EPERM]
        faults.clear()
        (_, try_again) = later.pop()
        try_again()
        turn_until(loop, lambda: len(guests.made) == 1)


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_connection_that_cannot_be_watched_is_closed_and_said(faults, number):
    """ENOSPC is /proc/sys/fs/epoll/max_user_watches."""
    loop, contexts, guests = meantime.EventLoop(backend="epoll"), [], Guests()
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    with listening(loop, guests) as (_, sock), clients(3, sock) as made:
        faults.plan("epoll_ctl", number, after=1, times=1)
        turn_until(loop, lambda: len(guests.made) == 2 and contexts)
        assert [context["exception"].errno for context in contexts] == [number]
        assert [take(client) for client in made].count(b"") == 1
    loop.close()


# --- Connecting -----------------------------------------------------------------------------------

REFUSALS = [
    errno.ECONNREFUSED,
    errno.ENETUNREACH,
    errno.EADDRNOTAVAIL,
    errno.ETIMEDOUT,
    errno.ENOBUFS,
    errno.ENOMEM,
]


@pytest.fixture
def connect_faults(compiled):
    """A plan that Python's own socket module is part of: the loop connects through it."""
    if not hasattr(_socket, "__file__"):
        pytest.skip("here Python's _socket is a part of the interpreter, whose calls stay alone")
    with Faults("_socket") as faults:
        yield faults


@pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.get)
def test_a_refused_connect_is_raised_and_closes_its_socket(loop, connect_faults, number):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        connect_faults.plan("connect", number)
        with pytest.raises(OSError) as told:  # noqa: PT011  each has its own class
            loop.run_until_complete(loop.create_connection(asyncio.Protocol, *sock.getsockname()))
        assert told.value.errno == number


def test_an_interrupted_connect_goes_on(loop, connect_faults):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        rule = connect_faults.plan("connect", errno.EINTR)
        transport, protocol = loop.run_until_complete(
            loop.create_connection(Recorder, *sock.getsockname())
        )
        peer, _ = sock.accept()
        with peer:
            peer.send(b"hello")
            turn_until(loop, lambda: protocol.data == b"hello")
        assert rule.injected == 1
        turn_until(loop, lambda: protocol.lost == [None])
        assert transport.is_closing()


def test_a_full_unix_server_is_waited_for(loop, tmp_path):
    """The kernel says EAGAIN then, and not that it goes on by itself: nothing would come of it."""
    path = str(tmp_path / "full")

    async def session():
        waiting = [loop.create_task(asyncio.open_unix_connection(path)) for _ in range(6)]
        for _ in range(20):
            await asyncio.sleep(0)
        accepted = []
        while len(accepted) < len(waiting):
            peer, _ = await loop.sock_accept(sock)
            peer.send(b"%d" % len(accepted))
            accepted.append(peer)
        got = []
        for task in waiting:
            reader, writer = await task
            got.append(await reader.read(1))
            writer.close()
            await writer.wait_closed()
        for peer in accepted:
            peer.close()
        return sorted(got)

    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen(0)
        sock.setblocking(False)
        assert loop.run_until_complete(session()) == [b"%d" % number for number in range(6)]
