"""Connections that this side begins, or takes over."""

import asyncio
import errno
import gc
import socket

import pytest

FREE = ("127.0.0.1", 0)


@pytest.fixture
def listener():
    """A listening socket that accepts by itself, up to its backlog."""
    with socket.create_server(FREE) as sock:
        yield sock


@pytest.fixture
def refusing():
    """An address where nobody listens; it is kept, so that nobody can begin to."""
    with socket.socket() as sock:
        sock.bind(FREE)
        yield sock.getsockname()


def connect(loop, *arguments, **options):
    """Connect, close again, and return the transport and protocol."""

    async def session():
        transport, protocol = await loop.create_connection(asyncio.Protocol, *arguments, **options)
        peer = transport.get_extra_info("peername")
        transport.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return peer, protocol

    return loop.run_until_complete(session())


def test_a_host_and_a_port_are_enough(loop, listener):
    peer, protocol = connect(loop, *listener.getsockname())
    assert peer == listener.getsockname()
    assert type(protocol) is asyncio.Protocol


def test_a_name_is_looked_up(loop, listener):
    peer, _ = connect(loop, "localhost", listener.getsockname()[1], family=socket.AF_INET)
    assert peer == listener.getsockname()


def test_happy_eyeballs_finds_the_family_that_answers(loop, listener, monkeypatch):
    port = listener.getsockname()[1]
    tcp = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")

    async def two_families(*arguments, **options):
        return [
            (socket.AF_INET6, *tcp, ("::1", port, 0, 0)),
            (socket.AF_INET, *tcp, ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(loop, "getaddrinfo", two_families)
    peer, _ = connect(loop, "both.example", port, happy_eyeballs_delay=60)
    assert peer == listener.getsockname()


def test_the_local_address_can_be_chosen(loop, listener):
    with socket.socket() as probe:
        probe.bind(FREE)
        local = probe.getsockname()

    async def session():
        transport, _ = await loop.create_connection(
            asyncio.Protocol, *listener.getsockname(), local_addr=local
        )
        name = transport.get_extra_info("sockname")
        transport.close()
        await asyncio.sleep(0)
        return name

    assert loop.run_until_complete(session()) == local


def test_a_local_address_in_use_is_named_in_the_error(loop, listener):
    with socket.create_server(FREE) as taken:
        local = taken.getsockname()
        with pytest.raises(OSError, match="error while attempting to bind on address") as caught:
            connect(loop, *listener.getsockname(), local_addr=local)
    assert caught.value.errno == errno.EADDRINUSE


def test_a_local_address_of_another_family_is_refused(loop, listener, monkeypatch):
    async def other_family(*arguments, **options):
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0))]

    monkeypatch.setattr(loop, "getaddrinfo", other_family)
    with pytest.raises(OSError, match="no matching local address with family="):
        connect(loop, *listener.getsockname(), local_addr=("local.example", 0))


def test_a_connected_socket_can_be_given(loop, listener):
    sock = socket.create_connection(listener.getsockname())
    peer, _ = connect(loop, sock=sock)
    assert peer == listener.getsockname()


def test_a_refused_connection_is_an_error(loop, refusing):
    with pytest.raises(ConnectionRefusedError, match="Connect call failed"):
        connect(loop, *refusing)


def test_all_errors_come_as_a_group(loop, refusing):
    with pytest.raises(ExceptionGroup) as caught:
        connect(loop, *refusing, all_errors=True)
    assert [type(error) for error in caught.value.exceptions] == [ConnectionRefusedError]


def test_different_errors_are_joined_in_one(loop, monkeypatch):
    async def two_addresses(*arguments, **options):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 1)) for host in "ab"]

    async def fail(sock, address):
        raise OSError(f"no {address[0]}")

    monkeypatch.setattr(loop, "getaddrinfo", two_addresses)
    monkeypatch.setattr(loop, "sock_connect", fail)
    with pytest.raises(OSError, match="Multiple exceptions: no a, no b"):
        connect(loop, "both.example", 1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "6a 6b 6c 4a 4b"),
        ({"interleave": 0}, "6a 6b 6c 4a 4b"),
        ({"interleave": 1}, "6a 4a 6b 4b 6c"),
        ({"interleave": 2}, "6a 6b 4a 6c 4b"),
        ({"interleave": 9}, "6a 6b 6c 4a 4b"),
        ({"happy_eyeballs_delay": 60}, "6a 4a 6b 4b 6c"),
        ({"happy_eyeballs_delay": 60, "interleave": 2}, "6a 6b 4a 6c 4b"),
    ],
)
def test_the_families_take_turns_as_asked(loop, monkeypatch, options, expected):
    """`interleave` says how many addresses of the first family come before the turns begin."""
    families = {"6": socket.AF_INET6, "4": socket.AF_INET}
    tried = []

    async def five_addresses(*arguments, **question):
        found = ["6a", "6b", "6c", "4a", "4b"]
        return [(families[name[0]], socket.SOCK_STREAM, 6, "", (name, 1)) for name in found]

    async def fail(sock, address):
        tried.append(address[0])
        raise OSError(f"no {address[0]}")

    monkeypatch.setattr(loop, "getaddrinfo", five_addresses)
    monkeypatch.setattr(loop, "sock_connect", fail)
    with pytest.raises(ExceptionGroup, match="create_connection failed") as caught:
        connect(loop, "many.example", 1, all_errors=True, **options)
    assert tried == expected.split()
    assert [str(error) for error in caught.value.exceptions] == [f"no {name}" for name in tried]


def test_a_name_without_addresses_is_an_error(loop, monkeypatch):
    async def no_addresses(*arguments, **options):
        return []

    monkeypatch.setattr(loop, "getaddrinfo", no_addresses)
    with pytest.raises(OSError, match="returned empty list"):
        connect(loop, "none.example", 1)


def test_a_failing_protocol_factory_closes_the_socket(loop, listener):
    """Also one that the caller made: it is the loop's since it was given."""

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop.run_until_complete(loop.create_connection(fail, *listener.getsockname()))
    sock = socket.create_connection(listener.getsockname())
    with pytest.raises(ZeroDivisionError):
        loop.run_until_complete(loop.create_connection(fail, sock=sock))
    assert sock.fileno() == -1


def test_cancelling_a_connection_attempt_closes_its_socket(loop, monkeypatch):
    async def never(sock, address):
        await loop.create_future()

    async def session():
        task = asyncio.create_task(loop.create_connection(asyncio.Protocol, "127.0.0.1", 1))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    monkeypatch.setattr(loop, "sock_connect", never)
    loop.run_until_complete(session())


@pytest.mark.parametrize("delay_s", [None, 0.25])
def test_an_error_keeps_no_circle_of_references_alive(loop, refusing, delay_s):
    """Sockets and frames would wait for the collector."""
    try:
        connect(loop, *refusing, happy_eyeballs_delay=delay_s)
    except OSError as error:
        caught = error
    frames, traceback = [], caught.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    holders = [
        f for f in frames if f.f_code.co_filename != __file__ and caught in f.f_locals.values()
    ]
    del frames, traceback
    assert holders == []
    # The task of create_connection ended with it (3.11 lets go of it then). That of an attempt is
    # not to keep it, too.
    assert sum(isinstance(holder, asyncio.Task) for holder in gc.get_referrers(caught)) <= 1


SSL_NEEDED = "is only meaningful with ssl"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "host and port was not specified and no sock specified"),
        ({"host": "h", "server_hostname": "x"}, f"server_hostname {SSL_NEEDED}"),
        ({"host": "h", "ssl_handshake_timeout": 1}, f"ssl_handshake_timeout {SSL_NEEDED}"),
        ({"host": "h", "ssl_shutdown_timeout": 1}, f"ssl_shutdown_timeout {SSL_NEEDED}"),
        ({"ssl": True}, "You must set server_hostname when using ssl without a host"),
    ],
)
def test_contradictions_are_refused(loop, options, message):
    with pytest.raises(ValueError, match=message):
        connect(loop, **options)


def test_a_socket_and_a_host_are_one_too_many(loop):
    with (
        socket.socket() as sock,
        pytest.raises(ValueError, match="host/port and sock can not be specified"),
    ):
        connect(loop, "127.0.0.1", 1, sock=sock)


def test_a_datagram_socket_is_no_stream(loop):
    with (
        socket.socket(type=socket.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match="A Stream Socket was expected"),
    ):
        connect(loop, sock=sock)


def test_an_accepted_socket_can_be_taken_over(loop, listener):
    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data)

    async def session():
        with socket.create_connection(listener.getsockname()) as client:
            accepted, _ = listener.accept()
            transport, _ = await loop.connect_accepted_socket(Echo, accepted)
            client.setblocking(False)
            await loop.sock_sendall(client, b"hello")
            echoed = await loop.sock_recv(client, 100)
            transport.close()
            await asyncio.sleep(0)
            return echoed

    assert loop.run_until_complete(session()) == b"hello"


def test_an_accepted_unix_socket_can_be_taken_over(loop):
    async def session():
        here, there = socket.socketpair()
        with there:
            transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, here)
            there.setblocking(False)
            transport.write(b"hello")
            received = await loop.sock_recv(there, 100)
            transport.close()
            await asyncio.sleep(0)
            return received

    assert loop.run_until_complete(session()) == b"hello"


def test_an_accepted_datagram_socket_is_refused(loop):
    with (
        socket.socket(type=socket.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match="A Stream Socket was expected"),
    ):
        loop.run_until_complete(loop.connect_accepted_socket(asyncio.Protocol, sock))


def test_timeouts_of_tls_without_tls_are_refused_for_an_accepted_socket(loop):
    with (
        socket.socket() as sock,
        pytest.raises(ValueError, match=f"ssl_handshake_timeout {SSL_NEEDED}"),
    ):
        loop.run_until_complete(
            loop.connect_accepted_socket(asyncio.Protocol, sock, ssl_handshake_timeout=1)
        )


# --- Unix sockets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, bytes, lambda path: path])
def test_a_unix_socket_is_found_by_any_kind_of_path(loop, tmp_path, kind):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        given = kind(path) if kind is not bytes else bytes(path)

        async def session():
            transport, _ = await loop.create_unix_connection(asyncio.Protocol, given)
            transport.close()
            await asyncio.sleep(0)

        loop.run_until_complete(session())


def test_a_path_where_nobody_listens_is_an_error(loop, tmp_path):
    with pytest.raises(FileNotFoundError):
        loop.run_until_complete(
            loop.create_unix_connection(asyncio.Protocol, str(tmp_path / "none"))
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no path and sock were specified"),
        ({"path": "x", "ssl": True}, "you have to pass server_hostname when using ssl"),
        ({"path": "x", "server_hostname": "x"}, f"server_hostname {SSL_NEEDED}"),
        ({"path": "x", "ssl_handshake_timeout": 1}, f"ssl_handshake_timeout {SSL_NEEDED}"),
    ],
)
def test_contradictions_about_paths_are_refused(loop, options, message):
    with pytest.raises(ValueError, match=message):
        loop.run_until_complete(loop.create_unix_connection(asyncio.Protocol, **options))


def test_an_internet_socket_is_no_unix_socket(loop):
    with (
        socket.socket() as sock,
        pytest.raises(ValueError, match="A UNIX Domain Stream Socket was expected"),
    ):
        loop.run_until_complete(loop.create_unix_connection(asyncio.Protocol, sock=sock))
