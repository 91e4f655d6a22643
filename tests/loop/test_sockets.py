"""Sockets that the program makes itself, and descriptors that it watches itself."""

import asyncio
import socket
import ssl

import pytest


@pytest.fixture
def pair():
    """Two connected sockets, not blocking."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


def test_a_socket_connects(loop):
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock:
        sock.setblocking(False)
        loop.run_until_complete(loop.sock_connect(sock, listener.getsockname()))
        assert sock.getpeername() == listener.getsockname()


def test_a_socket_connects_to_a_path(loop, tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as sock:
        listener.bind(path)
        listener.listen()
        sock.setblocking(False)
        loop.run_until_complete(loop.sock_connect(sock, path))
        assert sock.getpeername() == path


def test_a_refused_connection_names_the_address(loop):
    with socket.socket() as nobody, socket.socket() as sock:
        nobody.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        with pytest.raises(ConnectionRefusedError, match=r"Connect call failed \('127.0.0.1'"):
            loop.run_until_complete(loop.sock_connect(sock, nobody.getsockname()))


def test_a_cancelled_connection_attempt_leaves_the_socket_usable(loop):
    async def session(sock):
        # The backlog is full, so the kernel lets this attempt wait.
        task = asyncio.create_task(loop.sock_connect(sock, full.getsockname()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        loop.add_writer(sock, print)
        assert loop.remove_writer(sock)

    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        socket.create_connection(full.getsockname()),
        socket.socket() as sock,
    ):
        sock.setblocking(False)
        loop.run_until_complete(session(sock))


@pytest.mark.parametrize(
    "call",
    [
        lambda loop, sock: loop.sock_recv(sock, 1),
        lambda loop, sock: loop.sock_recv_into(sock, bytearray(1)),
        lambda loop, sock: loop.sock_recvfrom(sock, 1),
        lambda loop, sock: loop.sock_sendall(sock, b"x"),
        lambda loop, sock: loop.sock_sendto(sock, b"x", ("127.0.0.1", 1)),
        lambda loop, sock: loop.sock_accept(sock),
        lambda loop, sock: loop.sock_connect(sock, ("127.0.0.1", 1)),
    ],
)
def test_debug_mode_refuses_a_blocking_socket(loop, pair, call):
    """One slow peer would stop the whole loop."""
    pair[0].setblocking(True)
    loop.set_debug(True)
    with pytest.raises(ValueError, match="the socket must be non-blocking"):
        loop.run_until_complete(call(loop, pair[0]))


def test_a_socket_that_does_tls_itself_is_refused(loop):
    """It decrypts ahead of what it gives, so a poller cannot tell when there is more."""
    sock = ssl.SSLSocket.__new__(ssl.SSLSocket)
    for refused in (
        loop.sock_connect(sock, ("127.0.0.1", 1)),
        loop.create_connection(asyncio.Protocol, sock=sock),
        loop.create_server(asyncio.Protocol, sock=sock),
        loop.connect_accepted_socket(asyncio.Protocol, sock),
    ):
        with pytest.raises(TypeError, match="Socket cannot be of type SSLSocket"):
            loop.run_until_complete(refused)


def test_a_second_reader_takes_the_place_of_the_first(loop, pair):
    heard = []
    left, right = pair
    loop.add_reader(left, heard.append, "first")
    loop.add_reader(left, lambda: (heard.append("second"), loop.stop()))
    right.send(b"x")
    loop.run_forever()
    assert heard == ["second"]
    assert loop.remove_reader(left)
    assert not loop.remove_reader(left)


def test_a_descriptor_of_a_transport_is_not_for_others(loop, pair):
    """Two readers would take each other's bytes."""

    async def session():
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=pair[0])
        refused = [
            lambda: loop.add_reader(fd, print),
            lambda: loop.add_writer(fd, print),
            lambda: loop.remove_reader(fd),
            lambda: loop.remove_writer(fd),
        ]
        fd = transport.get_extra_info("socket").fileno()
        for call in refused:
            with pytest.raises(RuntimeError, match="is used by transport"):
                call()
        transport.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop.run_until_complete(session())


@pytest.mark.parametrize("what", [-1, "socket", None, 3.5])
def test_what_is_no_descriptor_is_refused(loop, what):
    with pytest.raises((ValueError, TypeError)):
        loop.add_reader(what, print)
