"""Accepting: every connection gets its transport, whatever goes wrong with the others."""

import asyncio
import contextvars
import errno
import resource
import socket
from contextlib import contextmanager

import pytest

from meantime._core.listener import Listener
from tests.core.wires import Recorder, reset, take, turn, turn_until

LOCAL = ("127.0.0.1", 0)
# How many connections one turn accepts at most.
ACCEPTED_PER_TURN = 64

user = contextvars.ContextVar("user", default="nobody")


class Guests:
    """A protocol factory that keeps what it made."""

    def __init__(self, make=Recorder):
        self.make = make
        self.protocols = []

    def __call__(self):
        self.protocols.append(self.make())
        return self.protocols[-1]

    @property
    def made(self):
        return [protocol for protocol in self.protocols if protocol.transport is not None]


class Server:
    """What a listener tells of its transports."""

    def __init__(self):
        self.attached = []

    def _attach(self, transport):
        self.attached.append(transport)

    def _detach(self, transport):
        self.attached.remove(transport)


@contextmanager
def listening(loop, factory, sock=None, backlog=500):
    """Listen; gives the listener and its socket. All transports are aborted at the end."""
    sock = socket.create_server(LOCAL) if sock is None else sock
    sock.setblocking(False)
    server = Server()
    listener = Listener(loop, sock, factory, backlog, server)
    listener.start()
    try:
        yield listener, sock
    finally:
        listener.stop()
        sock.close()
        for transport in list(server.attached):
            transport.abort()
        turn(loop, 3)
        assert server.attached == []


@contextmanager
def clients(count, sock):
    """That many connections to `sock`, which nobody has accepted yet."""
    made = []
    try:
        for _ in range(count):
            client = socket.socket(sock.family)
            made.append(client)
            client.setblocking(False)
            try:
                client.connect(sock.getsockname())
            except BlockingIOError:
                pass
        yield made
    finally:
        for client in made:
            client.close()


@contextmanager
def descriptors_at_most(count):
    """Let only `count` more descriptors be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = [socket.socket() for _ in range(count)]
    filler = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted[-1].fileno() + 1, hard))
        fill_up(filler)
        for sock in wanted:
            sock.close()
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for sock in filler + wanted:
            sock.close()


def fill_up(filler):
    """Open sockets until no descriptor is left."""
    while True:
        try:
            filler.append(socket.socket())
        except OSError:
            return


def run_with_descriptors(loop, count, is_enough):
    """Run the loop with `count` more descriptors at most, until `is_enough()`.

    Starting the loop takes some descriptors itself, so the limit is set while it runs.
    """

    async def session():
        with descriptors_at_most(count):
            async with asyncio.timeout(10):
                while not is_enough():
                    await asyncio.sleep(0)
            for _ in range(200):
                await asyncio.sleep(0)

    loop.run_until_complete(session())


@pytest.fixture
def contexts(loop):
    """What was given to the loop's exception handler."""
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    return contexts


def test_everybody_who_waits_is_accepted(loop):
    """The kernel tells of them once, and a turn accepts a bounded number."""
    count = 3 * ACCEPTED_PER_TURN + 5
    guests = Guests()
    with listening(loop, guests) as (_, sock), clients(count, sock) as peers:
        turn(loop)
        assert len(guests.made) == ACCEPTED_PER_TURN
        turn_until(loop, lambda: len(guests.made) == count)
        names = {protocol.transport.get_extra_info("peername") for protocol in guests.made}
        assert names == {peer.getsockname() for peer in peers}


def test_data_that_came_with_the_connection_is_delivered(loop):
    guests = Guests()
    with listening(loop, guests) as (_, sock), clients(1, sock) as (peer,):
        peer.send(b"early")
        turn_until(loop, lambda: guests.made and guests.made[0].data == b"early")


def test_small_answers_do_not_wait_for_an_acknowledgement(loop):
    guests = Guests()
    with listening(loop, guests) as (_, sock), clients(1, sock):
        turn_until(loop, lambda: guests.made)
        accepted = guests.made[0].transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.gettimeout() == 0


def test_nobody_is_accepted_after_stop(loop):
    """Not even those of the batch that a turn had left over."""
    guests = Guests()
    with listening(loop, guests) as (listener, sock), clients(ACCEPTED_PER_TURN + 1, sock):
        turn(loop)
        listener.stop()
        turn(loop, 3)
        assert len(guests.made) == ACCEPTED_PER_TURN


def test_a_connection_that_is_reset_at_once_harms_nobody(loop, contexts):
    guests = Guests()
    with listening(loop, guests) as (_, sock), clients(2, sock) as (first, second):
        reset(first)
        second.send(b"x")
        turn_until(loop, lambda: any(protocol.data == b"x" for protocol in guests.made))
        assert contexts == []


def test_unix_peers_have_an_empty_name(loop, tmp_path):
    """As the socket module has it, for a client that is not bound to a path."""
    guests = Guests()
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "socket"))
    with listening(loop, guests, sock), clients(1, sock):
        turn_until(loop, lambda: guests.made)
        transport = guests.made[0].transport
        assert transport.get_extra_info("peername") == ""
        assert transport.get_extra_info("sockname") == str(tmp_path / "socket")


# --- When something fails -------------------------------------------------------------------------


def test_a_failing_factory_closes_its_connection_and_no_other(loop, contexts):
    guests = Guests()

    def factory():
        if not contexts:
            raise ZeroDivisionError
        return guests()

    with listening(loop, factory) as (_, sock), clients(2, sock) as peers:
        turn_until(loop, lambda: guests.made)
        (context,) = contexts
        assert context["message"] == "Error on transport creation for incoming connection"
        assert type(context["exception"]) is ZeroDivisionError
        assert take(peers[0]) == b""
        assert take(peers[1]) is None


@pytest.mark.parametrize("where", ["factory", "connection_made"])
def test_an_interruption_loses_no_waiting_connection(loop, where):
    interrupts = [KeyboardInterrupt]

    class Interrupted(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            if where == "connection_made" and interrupts:
                raise interrupts.pop()

    guests = Guests(Interrupted)

    def factory():
        if where == "factory" and interrupts:
            raise interrupts.pop()
        return guests()

    with listening(loop, factory) as (_, sock), clients(3, sock):
        with pytest.raises(KeyboardInterrupt):
            turn_until(loop, lambda: False)
        turn_until(loop, lambda: len(guests.made) == (2 if where == "factory" else 3))


def test_without_descriptors_connections_wait_until_there_are_some(loop, contexts, monkeypatch):
    """It is said once in a while, not in each turn, and nobody is turned away."""
    later = []
    monkeypatch.setattr(loop, "call_later", lambda delay, call: later.append((delay, call)))
    guests = Guests()
    with listening(loop, guests) as (_, sock), clients(5, sock):
        run_with_descriptors(loop, 2, lambda: contexts)
        (context,) = contexts
        assert context["exception"].errno == errno.EMFILE
        assert "ulimit -n" in context["message"]
        assert context["socket"].fileno() == sock.fileno()
        assert len(guests.made) == 2
        ((delay, try_again),) = later
        assert delay == 1
        loop.call_soon(try_again)
        turn_until(loop, lambda: len(guests.made) == 5)
        assert len(contexts) == 1


def test_a_storm_of_connections_without_descriptors_does_not_end_the_listening(
    loop, contexts, monkeypatch
):
    """More wait than a turn accepts, more come meanwhile, and then the descriptors run out."""
    later = []
    call_later = loop.call_later
    monkeypatch.setattr(
        loop,
        "call_later",
        lambda delay, call: later.append(call) if delay == 1 else call_later(delay, call),
    )
    guests = Guests()
    count = 3 * ACCEPTED_PER_TURN

    def factory():
        if len(guests.protocols) in {10, ACCEPTED_PER_TURN + 10}:
            latecomers.pop().connect_ex(sock.getsockname())
        return guests()

    with (
        listening(loop, factory) as (_, sock),
        clients(count, sock),
        clients(0, sock) as closed_at_the_end,
    ):
        spare = [socket.socket(), socket.socket()]
        for late in spare:
            late.setblocking(False)
        latecomers = list(spare)
        closed_at_the_end.extend(spare)
        run_with_descriptors(loop, 2 * ACCEPTED_PER_TURN + 3, lambda: contexts)
        assert [context["exception"].errno for context in contexts] == [errno.EMFILE]
        loop.call_soon(later[0])
        turn_until(loop, lambda: len(guests.made) == count + 2)


def test_stopping_while_no_descriptor_is_left_stops_for_good(loop, contexts, monkeypatch):
    later = []
    monkeypatch.setattr(loop, "call_later", lambda delay, call: later.append(call))
    guests = Guests()
    with listening(loop, guests) as (listener, sock), clients(2, sock):
        run_with_descriptors(loop, 1, lambda: contexts)
        watched = loop._watch_count()
        listener.stop()
        later[0]()
        turn(loop, 3)
        assert len(guests.made) == 1
        assert loop._watch_count() == watched


def test_a_socket_shut_down_behind_its_back_is_reported_once(loop, contexts):
    """Otherwise the server would seem to be alive, and accept nobody."""
    with listening(loop, Guests()) as (_, sock):
        sock.shutdown(socket.SHUT_RD)
        turn_until(loop, lambda: contexts)
        turn(loop, 3)
        (context,) = contexts
        assert context["exception"].errno == errno.EINVAL
        assert "Close the Server instead" in context["message"]


def test_a_socket_closed_behind_its_back_leaves_the_descriptor_to_the_next(loop, contexts):
    """The kernel gives out its number again, to somebody who knows nothing of the listener."""
    with listening(loop, Guests()) as (listener, sock):
        fd = sock.fileno()
        sock.close()
        left, right = socket.socketpair()
        assert fd in {left.fileno(), right.fileno()}
        readable, other = (left, right) if left.fileno() == fd else (right, left)
        heard = []
        with left, right:
            listener.stop()
            loop.add_reader(readable, heard.append, 1)
            other.send(b"x")
            turn_until(loop, lambda: heard)
            loop.remove_reader(readable)
        assert contexts == []


# --- Context variables ----------------------------------------------------------------------------


class Seeing(Recorder):
    """Notes which user each of its methods sees."""

    def __init__(self):
        super().__init__()
        self.seen = [user.get()]

    def connection_made(self, transport):
        super().connection_made(transport)
        self.seen.append(user.get())
        user.set(f"guest {transport.get_extra_info('peername')[1]}")

    def data_received(self, data):
        super().data_received(data)
        self.seen.append(user.get())
        user.set("renamed")

    def connection_lost(self, exc):
        super().connection_lost(exc)
        self.seen.append(user.get())


def test_protocols_see_the_context_variables_of_the_servers_creator(loop):
    """A request's log lines carry what the server was started with."""
    guests = Guests(Seeing)

    async def serve():
        user.set("creator")
        return await loop.create_server(guests, *LOCAL)

    server = loop.run_until_complete(loop.create_task(serve()))
    with clients(2, server.sockets[0]) as peers:
        turn_until(loop, lambda: len(guests.made) == 2)
        peers[0].send(b"x")
        turn(loop)
        for protocol in guests.made:
            protocol.transport.close()
        turn(loop, 2)
        assert [protocol.seen[:2] for protocol in guests.made] == [["creator"] * 2] * 2
        assert guests.made[0].seen[3] == "renamed"
        assert guests.made[1].seen[2] == f"guest {peers[1].getsockname()[1]}"
    server.close()
    assert user.get() == "nobody"


def test_what_one_connections_factory_sets_is_not_seen_by_the_next(loop):
    """It would be another user's name."""
    seen = []

    class Plain(Recorder):
        def __init__(self):
            super().__init__()
            seen.append(user.get())
            user.set(f"user {len(seen)}")

        def connection_made(self, transport):
            super().connection_made(transport)
            self.name = user.get()

    guests = Guests(Plain)
    with listening(loop, guests) as (_, sock), clients(3, sock):
        turn_until(loop, lambda: len(guests.made) == 3)
        assert [protocol.name for protocol in guests.made] == ["user 1", "user 2", "user 3"]
        assert seen == ["nobody"] * 3


def test_a_server_may_be_closed_by_the_protocol_that_it_just_made(loop):
    """It is how tests of servers end after one connection."""

    class Closing(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            server.close()

    guests = Guests(Closing)

    async def serve():
        return await asyncio.get_running_loop().create_server(guests, *LOCAL)

    server = loop.run_until_complete(serve())
    with clients(3, server.sockets[0]):
        turn_until(loop, lambda: guests.made)
        turn(loop, 3)
        assert len(guests.made) == 1
        guests.made[0].transport.abort()
        turn(loop, 2)
