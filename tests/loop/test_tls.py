"""TLS through the loop's methods: streams, start_tls, timeouts, cancelling."""

import asyncio
import gc
import itertools
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from meantime._core.tls import TlsTransport
from tests.core.leaks import malloc_bytes

CERTIFICATE = Path(__file__).with_name("certificate.pem")


@pytest.fixture
def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@pytest.fixture
def client_context():
    return ssl.create_default_context(cafile=CERTIFICATE)


async def echo_line(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def ask(reader, writer):
    writer.write(b"hello\n")
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer


def test_a_client_and_a_server_talk(loop, server_context, client_context):
    async def session():
        server = await asyncio.start_server(echo_line, "localhost", 0, ssl=server_context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            streams = await asyncio.open_connection("localhost", port, ssl=client_context)
            return await ask(*streams)

    assert loop.run_until_complete(session()) == b"hello\n"


def test_unix_sockets_carry_tls_too(loop, server_context, client_context, tmp_path):
    path = tmp_path / "socket"

    async def session():
        server = await asyncio.start_unix_server(echo_line, path, ssl=server_context)
        async with server:
            streams = await asyncio.open_unix_connection(
                path, ssl=client_context, server_hostname="localhost"
            )
            return await ask(*streams)

    assert loop.run_until_complete(session()) == b"hello\n"


def test_a_connection_begins_tls_in_the_middle(loop, server_context, client_context):
    async def upgrade(reader, writer):
        await reader.readline()
        writer.write(b"READY\n")
        await writer.start_tls(server_context)
        await echo_line(reader, writer)

    async def session():
        server = await asyncio.start_server(upgrade, "localhost", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("localhost", port)
            writer.write(b"STARTTLS\n")
            await reader.readline()
            await writer.start_tls(client_context, server_hostname="localhost")
            return await ask(reader, writer)

    assert loop.run_until_complete(session()) == b"hello\n"


def test_a_hello_that_came_before_start_tls_is_not_lost(loop, server_context, client_context):
    """A client that begins at once may be faster than the server."""

    async def upgrade(reader, writer):
        while not reader._buffer:
            await asyncio.sleep(0)
        await writer.start_tls(server_context)
        await echo_line(reader, writer)

    async def session():
        server = await asyncio.start_server(upgrade, "localhost", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("localhost", port)
            await writer.start_tls(client_context, server_hostname="localhost")
            return await ask(reader, writer)

    assert loop.run_until_complete(session()) == b"hello\n"


def test_a_certificate_for_another_name_ends_the_attempt(loop, server_context, client_context):
    async def session():
        server = await asyncio.start_server(echo_line, "localhost", 0, ssl=server_context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.open_connection(
                "localhost", port, ssl=client_context, server_hostname="other.example"
            )

    loop.set_exception_handler(lambda loop, context: None)
    with pytest.raises(ssl.SSLCertVerificationError):
        loop.run_until_complete(session())


def test_start_tls_wants_a_context_and_a_stream(loop, client_context):
    with pytest.raises(TypeError, match=r"expected to be an instance of ssl\.SSLContext"):
        loop.run_until_complete(loop.start_tls(None, asyncio.Protocol(), None))
    with pytest.raises(TypeError, match="is not supported by start_tls"):
        loop.run_until_complete(loop.start_tls(object(), asyncio.Protocol(), client_context))


def test_a_server_cannot_do_with_ssl_true(loop):
    with pytest.raises(TypeError, match="ssl argument must be an SSLContext or None"):
        loop.run_until_complete(loop.create_server(asyncio.Protocol, "localhost", 0, ssl=True))
    here, there = socket.socketpair()
    with here, there, pytest.raises(ValueError, match="Server side SSL needs a valid SSLContext"):
        loop.run_until_complete(loop.connect_accepted_socket(asyncio.Protocol, here, ssl=True))


def test_ssl_true_trusts_only_what_the_system_trusts(loop, server_context):
    async def session():
        server = await asyncio.start_server(echo_line, "localhost", 0, ssl=server_context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.open_connection("localhost", port, ssl=True)

    with pytest.raises(ssl.SSLCertVerificationError):
        loop.run_until_complete(session())


def test_a_name_that_cannot_be_one_leaves_no_socket_open(loop, client_context):
    async def session():
        server = await asyncio.start_server(echo_line, "localhost", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.open_connection(
                "localhost", port, ssl=client_context, server_hostname=".example"
            )

    with pytest.raises(UnicodeError):
        loop.run_until_complete(session())


@pytest.fixture
def silent_server():
    """The address of a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


def test_cancelling_in_the_handshake_closes_the_connection(loop, client_context, silent_server):
    async def session():
        connecting = asyncio.create_task(
            asyncio.open_connection(*silent_server, ssl=client_context, server_hostname="x")
        )
        while not any(isinstance_of_tls(item) for item in gc.get_objects()):
            await asyncio.sleep(0)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting

    loop.run_until_complete(session())


def isinstance_of_tls(item):
    return type(item) is TlsTransport and item._state == "OPENING"


def test_a_handshake_timeout_is_told_to_the_caller(loop, client_context, silent_server):
    with pytest.raises(ConnectionAbortedError, match="SSL handshake is taking longer than"):
        loop.run_until_complete(
            asyncio.open_connection(
                *silent_server,
                ssl=client_context,
                server_hostname="x",
                ssl_handshake_timeout=0.05,
            )
        )


def test_a_client_may_begin_tls_without_waiting_for_an_answer(loop, server_context, client_context):
    """Its first bytes of TLS are then in the reader already, behind the announcement."""

    async def upgrade(reader, writer):
        await reader.readline()
        while not reader._buffer:
            await asyncio.sleep(0)
        await writer.start_tls(server_context)
        await echo_line(reader, writer)

    def impatient(port):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        with socket.create_connection(("localhost", port)) as sock:
            sock.sendall(b"STARTTLS\n" + outgoing.read())
            for action in (tls.do_handshake, lambda: tls.write(b"hello\n"), lambda: tls.read(100)):
                while True:
                    try:
                        answer = action()
                    except ssl.SSLWantReadError:
                        sock.sendall(outgoing.read())
                        incoming.write(sock.recv(65_536))
                        continue
                    sock.sendall(outgoing.read())
                    break
            return answer

    async def session():
        server = await asyncio.start_server(upgrade, "localhost", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await asyncio.to_thread(impatient, port)

    assert loop.run_until_complete(session()) == b"hello\n"


def test_tls_begins_inside_of_tls(loop, server_context, client_context):
    """As when a proxy is spoken to in TLS, and through it a server is."""

    async def upgrade(reader, writer):
        await reader.readline()
        writer.write(b"READY\n")
        await writer.start_tls(server_context)
        await echo_line(reader, writer)

    async def session():
        server = await asyncio.start_server(upgrade, "localhost", 0, ssl=server_context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("localhost", port, ssl=client_context)
            writer.write(b"STARTTLS\n")
            await reader.readline()
            await writer.start_tls(client_context, server_hostname="localhost")
            return await ask(reader, writer)

    assert loop.run_until_complete(session()) == b"hello\n"


class ForeignTransport(asyncio.Transport):
    """A transport that is not ours: it hands what is written to another one, a turn later."""

    _start_tls_compatible = True

    def __init__(self, loop):
        super().__init__()
        self.loop, self.peer, self.is_open, self.waiting = loop, None, True, []
        self.paused = False

    def write(self, data):
        self.peer.waiting.append(bytes(data))
        self.loop.call_soon(self.peer.deliver)

    def deliver(self):
        while self.waiting and not self.paused and self.is_open:
            self.get_protocol().data_received(self.waiting.pop(0))

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False
        self.loop.call_soon(self.deliver)

    def set_protocol(self, protocol):
        self.protocol = protocol

    def get_protocol(self):
        return self.protocol

    def close(self):
        if self.is_open:
            self.is_open = False
            self.loop.call_soon(self.protocol.connection_lost, None)

    abort = close


def test_foreign_transports_carry_tls_too(loop, server_context, client_context):
    class Noting(asyncio.Protocol):
        def __init__(self):
            self.received, self.lost = b"", loop.create_future()

        def data_received(self, data):
            self.received += data

        def connection_lost(self, exc):
            self.lost.set_result(exc)

    async def session():
        left, right = ForeignTransport(loop), ForeignTransport(loop)
        left.peer, right.peer = right, left
        client, server = Noting(), Noting()
        inner = await asyncio.gather(
            loop.start_tls(left, client, client_context, server_hostname="localhost"),
            loop.start_tls(right, server, server_context, server_side=True),
        )
        inner[0].write(b"question")
        inner[1].write(b"answer" * 100_000)
        while (len(client.received), server.received) != (600_000, b"question"):
            await asyncio.sleep(0)
        inner[0].close()
        assert await asyncio.gather(client.lost, server.lost) == [None, None]

    loop.run_until_complete(session())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl program here")
@pytest.mark.slow
def test_a_peer_may_change_its_keys_at_any_time(loop, server_context):
    async def echo_lines(reader, writer):
        while line := await reader.readline():
            writer.write(line)
        writer.close()
        await writer.wait_closed()

    def talk(port):
        program = ["openssl", "s_client", "-tls1_3", "-connect", f"localhost:{port}"]
        pipe = subprocess.PIPE
        with subprocess.Popen(program, stdin=pipe, stdout=pipe, stderr=pipe) as client:

            def say(line, stream, expected):
                client.stdin.write(line)
                client.stdin.flush()
                while (heard := stream.readline()) != expected:
                    assert heard

            say(b"one\n", client.stdout, b"one\n")
            for _ in range(3):
                say(b"K\n", client.stderr, b"KEYUPDATE\n")
                say(b"two\n", client.stdout, b"two\n")
            client.stdin.close()
            client.stdout.read()

    async def session():
        server = await asyncio.start_server(echo_lines, "localhost", 0, ssl=server_context)
        async with server:
            await asyncio.to_thread(talk, server.sockets[0].getsockname()[1])

    loop.run_until_complete(session())


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_hundreds_of_connections_leave_no_memory_behind(loop, server_context, client_context):
    async def session(port):
        streams = await asyncio.open_connection("localhost", port, ssl=client_context)
        assert await ask(*streams) == b"hello\n"

    def sessions(count):
        async def all_of_them():
            server = await asyncio.start_server(echo_line, "localhost", 0, ssl=server_context)
            async with server:
                port = server.sockets[0].getsockname()[1]
                for _ in range(count // 20):
                    await asyncio.gather(*[session(port) for _ in range(20)])

        loop.run_until_complete(all_of_them())
        gc.collect()
        return malloc_bytes()

    # Caches fill up at first; a leak is there each time. An SSL alone has more than 5 KiB.
    held_bytes = [sessions(400) for _ in range(4)]
    growth_bytes = min(after - before for before, after in itertools.pairwise(held_bytes))
    assert growth_bytes < 400 * 1024
    assert not [item for item in gc.get_objects() if type(item) is TlsTransport]
