"""Servers: their addresses, their life, and what becomes of their connections."""

import asyncio
import errno
import socket
import sys

import pytest

HERE = "127.0.0.1"


def serve(loop, session, protocol=asyncio.Protocol, **options):
    """Make a server, give it to a coroutine function, and end it and its connections."""
    options = {"host": HERE, "port": 0} | options

    async def all_of_it():
        server = await loop.create_server(protocol, **options)
        try:
            return await session(server)
        finally:
            server.close()
            server.abort_clients()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    return loop.run_until_complete(all_of_it())


async def connected(loop, server):
    """Return a client's socket whose connection the server has accepted."""
    client = socket.socket()
    client.setblocking(False)
    await loop.sock_connect(client, server.sockets[0].getsockname())
    while not server._clients:
        await asyncio.sleep(0)
    return client


# --- Addresses ------------------------------------------------------------------------------------


def test_a_server_serves(loop):
    class Greeter(asyncio.Protocol):
        def connection_made(self, transport):
            transport.write(b"hello")
            transport.close()

    async def session(server):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        greeting = await reader.read()
        writer.close()
        await writer.wait_closed()
        return greeting

    assert serve(loop, session, Greeter) == b"hello"


def test_each_host_of_several_is_listened_on_once(loop):
    async def session(server):
        return [sock.getsockname()[0] for sock in server.sockets]

    assert serve(loop, session, host=["127.0.0.1", "127.0.0.2", "127.0.0.1"]) == [
        "127.0.0.1",
        "127.0.0.2",
    ]


@pytest.mark.parametrize("everywhere", [None, ""])
def test_no_host_means_every_interface(loop, everywhere):
    async def session(server):
        return {sock.getsockname()[0] for sock in server.sockets}

    assert "0.0.0.0" in serve(loop, session, host=everywhere)


def test_ipv6_leaves_the_ipv4_port_alone(loop):
    """Otherwise a server on both families could not bind its second socket."""

    async def session(server):
        return server.sockets[0].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)

    try:
        assert serve(loop, session, host="::1") == 1
    except OSError:
        pytest.skip("this machine has no IPv6")


@pytest.mark.parametrize(
    ("argument", "option"),
    [
        ("reuse_address", socket.SO_REUSEADDR),
        ("reuse_port", socket.SO_REUSEPORT),
        ("keep_alive", socket.SO_KEEPALIVE),
    ],
)
@pytest.mark.parametrize("value", [True, False])
def test_socket_options_are_set_when_asked_for(loop, argument, option, value):
    async def session(server):
        return server.sockets[0].getsockopt(socket.SOL_SOCKET, option)

    assert bool(serve(loop, session, **{argument: value})) is value


def test_an_address_in_use_is_named(loop):
    with socket.create_server((HERE, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"bind on address \('{HERE}', {port}\)") as caught:
            serve(loop, None, port=port)
    assert caught.value.errno == errno.EADDRINUSE


def test_an_address_of_another_machine_is_refused(loop):
    with pytest.raises(OSError, match="could not bind on any address"):
        serve(loop, None, host="192.0.2.1")


def test_a_socket_can_be_given(loop):
    sock = socket.socket()
    sock.bind((HERE, 0))
    name = sock.getsockname()

    async def session(server):
        return server.sockets[0].getsockname()

    assert serve(loop, session, host=None, port=None, sock=sock) == name


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ssl": True}, TypeError, "ssl argument must be an SSLContext or None"),
        ({"ssl_handshake_timeout": 1}, ValueError, "only meaningful with ssl"),
        ({"host": None, "port": None}, ValueError, "Neither host/port nor sock"),
    ],
)
def test_contradictions_are_refused(loop, options, error, message):
    with pytest.raises(error, match=message):
        serve(loop, None, **options)


def test_a_datagram_socket_is_refused(loop):
    with (
        socket.socket(type=socket.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match="A Stream Socket was expected"),
    ):
        serve(loop, None, host=None, port=None, sock=sock)


# --- Life -----------------------------------------------------------------------------------------


def test_a_closed_server_has_given_its_address_back(loop):
    async def session(server):
        address = server.sockets[0].getsockname()
        server.close()
        server.close()
        assert server.sockets == ()
        assert not server.is_serving()
        with socket.create_server(address):
            pass

    serve(loop, session)


def test_a_server_begins_when_it_is_told_to(loop):
    async def session(server):
        assert not server.is_serving()
        await server.start_serving()
        await server.start_serving()
        assert server.is_serving()
        assert server.get_loop() is loop

    serve(loop, session, start_serving=False)


def test_a_closed_server_does_not_begin_again(loop):
    async def session(server):
        server.close()
        with pytest.raises(RuntimeError, match="is closed"):
            await server.start_serving()
        with pytest.raises(RuntimeError, match="is closed"):
            await server.serve_forever()

    serve(loop, session)


def test_serve_forever_ends_by_close(loop):
    async def session(server):
        serving = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already being awaited"):
            await server.serve_forever()
        server.close()
        with pytest.raises(asyncio.CancelledError):
            await serving

    serve(loop, session)


def test_cancelling_serve_forever_closes_the_server(loop):
    async def session(server):
        serving = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert server.sockets == ()

    serve(loop, session)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 does not wait for connections")
def test_cancelling_serve_forever_closes_connections_that_say_nothing(loop):
    """Ctrl-C would hang until the last of them has gone."""

    async def session(server):
        serving = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        with await connected(loop, server) as client:
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            assert await loop.sock_recv(client, 1) == b""

    serve(loop, session)


def test_async_with_closes_the_server(loop):
    async def session(server):
        async with server:
            assert server.is_serving()
        assert not server.is_serving()

    serve(loop, session)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 forgets the open connections")
def test_wait_closed_waits_for_the_connections(loop):
    async def session(server):
        client = await connected(loop, server)
        waiting = asyncio.create_task(server.wait_closed())
        server.close()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        client.close()
        await waiting

    serve(loop, session)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="from 3.12 on it waits")
def test_wait_closed_forgets_the_connections(loop):
    async def session(server):
        with await connected(loop, server):
            server.close()
            await server.wait_closed()

    serve(loop, session)


def test_wait_closed_returns_once_all_is_over(loop):
    async def session(server):
        server.close()
        await server.wait_closed()
        await server.wait_closed()

    serve(loop, session)


@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
def test_connections_can_be_ended_together(loop, how):
    async def session(server):
        with await connected(loop, server) as client:
            getattr(server, how)()
            try:
                return await loop.sock_recv(client, 100)
            except ConnectionResetError:
                return b""

    assert serve(loop, session) == b""


# --- Unix sockets ---------------------------------------------------------------------------------


def serve_path(loop, session=None, **options):
    async def all_of_it():
        server = await loop.create_unix_server(asyncio.Protocol, **options)
        try:
            return await session(server) if session else None
        finally:
            server.close()
            await asyncio.sleep(0)

    return loop.run_until_complete(all_of_it())


def test_a_path_is_listened_on_and_cleaned_up(loop, tmp_path):
    path = tmp_path / "socket"

    async def session(server):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    serve_path(loop, session, path=path, cleanup_socket=True)
    assert not path.exists()


def test_the_file_stays_when_nobody_asks_for_cleaning_up(loop, tmp_path):
    path = tmp_path / "socket"
    serve_path(loop, path=path, cleanup_socket=False)
    assert path.exists()


def test_the_file_of_another_server_is_not_removed(loop, tmp_path):
    """A new server has taken the place of this one, and closing the old one must not harm it."""
    path = tmp_path / "socket"

    async def session(server):
        path.rename(tmp_path / "old")
        path.touch()

    serve_path(loop, session, path=path, cleanup_socket=True)
    assert path.exists()


def test_a_stale_socket_is_replaced(loop, tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    serve_path(loop, path=str(path))


def test_another_kind_of_file_is_not_replaced(loop, tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OSError, match="is already in use") as caught:
        serve_path(loop, path=path)
    assert caught.value.errno == errno.EADDRINUSE
    assert path.read_text() == "data"


@pytest.mark.parametrize("name", ["\0meantime-test", b"\0meantime-test"])
def test_an_abstract_name_needs_no_file(loop, name):
    async def session(server):
        return server.sockets[0].getsockname()

    assert serve_path(loop, session, path=name) == b"\0meantime-test"


def test_a_path_or_a_socket_is_needed(loop):
    with pytest.raises(ValueError, match="path was not specified, and no sock specified"):
        serve_path(loop)
    with (
        socket.socket() as sock,
        pytest.raises(ValueError, match="A UNIX Domain Stream Socket was expected"),
    ):
        serve_path(loop, sock=sock)
    with (
        socket.socket(socket.AF_UNIX) as sock,
        pytest.raises(ValueError, match="path and sock can not be specified"),
    ):
        serve_path(loop, sock=sock, path="x")
