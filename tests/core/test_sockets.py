"""The sock_* methods: bytes and datagrams for a program that keeps its sockets to itself."""

import asyncio
import gc
import socket
import ssl

import pytest

from meantime._core.transport import StreamTransport
from tests.core.wires import LOCAL, Recorder, fill, joined, turn, turn_until


@pytest.fixture
def pair():
    """Two connected sockets, not blocking."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


@pytest.fixture
def udp():
    """Two datagram sockets."""
    with (
        socket.socket(type=socket.SOCK_DGRAM) as left,
        socket.socket(type=socket.SOCK_DGRAM) as right,
    ):
        for sock in (left, right):
            sock.bind((LOCAL, 0))
            sock.setblocking(False)
        yield left, right


@pytest.fixture
def watched(loop):
    """How many descriptors the loop watches more than at the beginning."""
    turn(loop)  # from its first turn on, a loop watches for signals
    before = loop._watch_count()
    return lambda: loop._watch_count() - before


def waiting(loop, coro):
    """Start a task, and see that it waits."""
    task = loop.create_task(coro)
    turn(loop, 2)
    assert not task.done()
    return task


# --- Receiving ------------------------------------------------------------------------------------


def test_what_is_there_is_received_without_watching(loop, pair, watched):
    left, right = pair
    right.send(b"hello")
    assert loop.run_until_complete(loop.sock_recv(left, 3)) == b"hel"
    assert loop.run_until_complete(loop.sock_recv(left, 1 << 30)) == b"lo"
    assert watched() == 0


def test_what_comes_later_is_waited_for(loop, pair, watched):
    left, right = pair
    task = waiting(loop, loop.sock_recv(left, 10))
    assert watched() == 1
    right.send(b"x")
    assert loop.run_until_complete(task) == b"x"
    assert watched() == 0


def test_the_end_of_the_stream_is_an_empty_answer(loop, pair):
    left, right = pair
    task = waiting(loop, loop.sock_recv(left, 10))
    right.close()
    assert loop.run_until_complete(task) == b""
    assert loop.run_until_complete(loop.sock_recv(left, 10)) == b""
    assert loop.run_until_complete(loop.sock_recv_into(left, bytearray(1))) == 0


@pytest.mark.parametrize("make", [bytearray, lambda size: memoryview(bytearray(size))])
def test_bytes_are_received_into_a_buffer(loop, pair, make):
    left, right = pair
    buffer = make(5)
    task = waiting(loop, loop.sock_recv_into(left, buffer))
    right.send(b"abc")
    assert loop.run_until_complete(task) == 3
    assert bytes(buffer) == b"abc\0\0"


@pytest.mark.parametrize("buffer", [b"read only", "text", None])
def test_a_buffer_that_cannot_be_written_to_is_refused(loop, pair, buffer):
    with pytest.raises((TypeError, BufferError)):
        loop.run_until_complete(loop.sock_recv_into(pair[0], buffer))


def test_a_negative_size_is_refused(loop, pair):
    with pytest.raises(ValueError, match="negative buffersize in recv"):
        loop.run_until_complete(loop.sock_recv(pair[0], -1))


def test_two_who_wait_for_one_socket_are_both_served(loop, pair, watched):
    left, right = pair
    first, second = (waiting(loop, loop.sock_recv(left, 1)) for _ in range(2))
    right.send(b"1")
    turn_until(loop, lambda: first.done() or second.done())
    right.send(b"2")
    got = loop.run_until_complete(asyncio.gather(first, second))
    assert sorted(got) == [b"1", b"2"]
    assert watched() == 0


def test_one_may_receive_while_another_sends(loop, pair, watched):
    left, right = pair
    receiving = waiting(loop, loop.sock_recv(left, 10))
    sending = waiting(loop, loop.sock_sendall(left, bytes(10_000_000)))
    right.send(b"x")
    assert loop.run_until_complete(receiving) == b"x"
    assert not sending.done()
    received = bytearray()

    async def read():
        while len(received) < 10_000_000:
            received.extend(await loop.sock_recv(right, 1 << 20))

    loop.run_until_complete(asyncio.gather(sending, read()))
    assert len(received) == 10_000_000
    assert watched() == 0


@pytest.mark.parametrize("others", [0, 1])
def test_cancelling_loses_nothing_and_leaves_no_watch(loop, pair, watched, others):
    left, right = pair
    other = [waiting(loop, loop.sock_recv(left, 1)) for _ in range(others)]
    task = waiting(loop, loop.sock_recv(left, 1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    assert watched() == others
    right.send(b"12")
    assert [loop.run_until_complete(task) for task in other] == [b"1"] * others
    assert loop.run_until_complete(loop.sock_recv(left, 2)) == b"12"[others:]


def test_cancelling_in_the_turn_of_the_data_loses_nothing(loop, pair, watched):
    left, right = pair
    task = waiting(loop, loop.sock_recv(left, 1))
    right.send(b"x")
    loop.stop()
    loop.call_soon(task.cancel)
    loop.run_forever()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    assert loop.run_until_complete(loop.sock_recv(left, 1)) == b"x"
    assert watched() == 0


def test_a_reader_and_a_waiter_share_a_socket(loop, pair, watched):
    """add_reader hears of the same bytes, and is still there afterwards."""
    left, right = pair
    heard = []
    loop.add_reader(left, lambda: heard.append(1))
    task = waiting(loop, loop.sock_recv(left, 1))
    right.send(b"12")
    assert loop.run_until_complete(task) == b"1"
    turn(loop, 2)
    assert heard
    assert loop.remove_reader(left)
    assert watched() == 0


# --- Sending --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [bytes, bytearray, memoryview, lambda data: memoryview(data).cast("I")]
)
def test_much_is_sent_to_a_slow_reader(loop, pair, make):
    left, right = pair
    data = b"".join(number.to_bytes(4, "big") for number in range(500_000))
    received = bytearray()

    async def read():
        while len(received) < len(data):
            received.extend(await loop.sock_recv(right, 100_000))

    async def both():
        await asyncio.gather(loop.sock_sendall(left, make(data)), read())

    loop.run_until_complete(both())
    assert received == data


def test_nothing_is_sent_at_once(loop, pair):
    assert loop.run_until_complete(loop.sock_sendall(pair[0], b"")) is None


def test_a_buffer_that_is_being_sent_cannot_be_resized(loop, pair):
    """What stands behind it in memory would be sent in its place."""
    data = bytearray(10_000_000)
    task = waiting(loop, loop.sock_sendall(pair[0], data))
    with pytest.raises(BufferError):
        data.clear()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    del task
    gc.collect()
    data.clear()


def test_a_cancelled_sender_leaves_no_watch(loop, pair, watched):
    task = waiting(loop, loop.sock_sendall(pair[0], bytes(10_000_000)))
    assert watched() == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    assert watched() == 0


@pytest.mark.parametrize("size", [1, 10_000_000])
def test_a_peer_that_has_gone_is_an_error_of_the_sender(loop, pair, watched, size):
    left, right = pair
    if size > 1:
        task = waiting(loop, loop.sock_sendall(left, bytes(size)))
        right.close()
    else:
        right.close()
        task = loop.create_task(loop.sock_sendall(left, b"x"))
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        loop.run_until_complete(task)
    assert watched() == 0


# --- Datagrams and connections --------------------------------------------------------------------


def test_datagrams_come_with_their_sender(loop, udp, watched):
    left, right = udp
    task = waiting(loop, loop.sock_recvfrom(left, 100))
    assert loop.run_until_complete(loop.sock_sendto(right, b"hello", left.getsockname())) == 5
    assert loop.run_until_complete(task) == (b"hello", right.getsockname())
    assert watched() == 0


@pytest.mark.parametrize(("size", "expected"), [(0, 5), (3, 3)])
def test_datagrams_are_received_into_a_buffer(loop, udp, size, expected):
    left, right = udp
    buffer = bytearray(8)
    task = waiting(loop, loop.sock_recvfrom_into(left, buffer, size))
    right.sendto(b"hello", left.getsockname())
    assert loop.run_until_complete(task) == (expected, right.getsockname())
    assert buffer == b"hello"[:expected].ljust(8, b"\0")


def test_a_datagram_waits_for_room(loop, watched):
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        count = 0
        try:
            while True:
                left.send(b"%d" % count)
                count += 1
        except BlockingIOError:
            pass
        task = waiting(loop, loop.sock_sendall(left, b"last"))
        received = [loop.run_until_complete(loop.sock_recv(right, 10)) for _ in range(count)]
        loop.run_until_complete(task)
        received.append(loop.run_until_complete(loop.sock_recv(right, 10)))
        assert received[-1] == b"last"
        assert watched() == 0


def test_accepted_sockets_do_not_block(loop, watched):
    with socket.create_server((LOCAL, 0)) as listener:
        listener.setblocking(False)
        task = waiting(loop, loop.sock_accept(listener))
        with socket.create_connection(listener.getsockname()) as client:
            connection, address = loop.run_until_complete(task)
            with connection:
                assert connection.gettimeout() == 0
                assert address == client.getsockname()
    assert watched() == 0


def test_a_blocking_socket_does_not_block_the_loop(loop):
    """Outside of debug mode asyncio lets it pass, and then hangs. This one does not."""
    left, right = socket.socketpair()
    with left, right:
        task = waiting(loop, loop.sock_recv(left, 1))
        right.send(b"x")
        assert loop.run_until_complete(task) == b"x"
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((LOCAL, 0))
        task = waiting(loop, loop.sock_recvfrom(sock, 10))
        task.cancel()
        turn(loop, 2)


# --- What cannot be used --------------------------------------------------------------------------

CALLS = {
    "sock_recv": lambda loop, sock: loop.sock_recv(sock, 1),
    "sock_recv_into": lambda loop, sock: loop.sock_recv_into(sock, bytearray(1)),
    "sock_recvfrom": lambda loop, sock: loop.sock_recvfrom(sock, 1),
    "sock_recvfrom_into": lambda loop, sock: loop.sock_recvfrom_into(sock, bytearray(1)),
    "sock_sendall": lambda loop, sock: loop.sock_sendall(sock, b"x"),
    "sock_sendto": lambda loop, sock: loop.sock_sendto(sock, b"x", (LOCAL, 1)),
    "sock_accept": lambda loop, sock: loop.sock_accept(sock),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@every_call
def test_a_closed_socket_says_so(loop, call):
    sock = socket.socket()
    sock.setblocking(False)
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        loop.run_until_complete(call(loop, sock))


@every_call
def test_a_socket_that_does_tls_itself_is_refused(loop, call):
    """It decrypts ahead of what it gives, so a poller cannot tell when there is more."""
    with pytest.raises(TypeError, match="Socket cannot be of type SSLSocket"):
        loop.run_until_complete(call(loop, ssl.SSLSocket.__new__(ssl.SSLSocket)))


@every_call
def test_a_socket_of_a_transport_is_refused(loop, call):
    """Its bytes would be taken from the transport's protocol."""
    here, peer = socket.socketpair()
    here.setblocking(False)
    protocol = Recorder()
    transport = StreamTransport(loop, here, protocol)
    turn(loop)
    with peer:
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.run_until_complete(call(loop, here))
        peer.send(b"x")
        turn(loop)
        assert protocol.data == b"x"
    transport.abort()
    turn(loop, 2)


def test_a_socket_given_up_by_its_transport_is_free_again(loop):
    with joined(loop, Recorder()) as (transport, _):
        fill(transport)
        sock = transport.get_extra_info("socket")
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.add_reader(sock, print)
        fd = sock.fileno()
        transport.abort()
        turn(loop)
        left, right = socket.socketpair()
        with left, right:
            assert fd in {left.fileno(), right.fileno()}
            loop.add_reader(fd, print)
            assert loop.remove_reader(fd)
