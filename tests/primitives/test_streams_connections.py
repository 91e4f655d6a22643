"""Streams on connections: TCP, Unix sockets, TLS, pipes; on our transports and on asyncio's."""

import asyncio
import contextlib
import functools
import gc
import os
import ssl
import sys
from asyncio import streams
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import meantime
from tests.core.wires import turn

CERTIFICATE = Path(__file__).parents[1] / "loop" / "certificate.pem"
LOCAL = "127.0.0.1"
KINDS = ["tcp", "unix", "tls"]


def contexts():
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATE)
    return server, ssl.create_default_context(cafile=CERTIFICATE)


@contextlib.asynccontextmanager
async def serving(serve, kind, folder, **options):
    """Serve, and give a function that connects. Whatever was connected is closed."""
    connected = []
    if kind == "unix":
        path = str(folder / "socket")
        server = await meantime.start_unix_server(serve, path, **options)
        connect = functools.partial(meantime.open_unix_connection, path)
    else:
        server_context, client_context = contexts() if kind == "tls" else (None, None)
        server = await meantime.start_server(serve, "localhost", 0, ssl=server_context, **options)
        port = server.sockets[0].getsockname()[1]
        connect = functools.partial(meantime.open_connection, "localhost", port, ssl=client_context)

    async def note_connection():
        reader, writer = await connect()
        connected.append((writer.transport, writer._protocol))
        return reader, writer

    async with server:
        try:
            yield note_connection
        finally:
            for transport, protocol in connected:
                transport.close()
                with contextlib.suppress(ConnectionError, ssl.SSLError, AssertionError):
                    await protocol._get_close_waiter(None)
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*tasks, return_exceptions=True)
            # The connections beneath TLS are told of their end a little later.
            await turns(5)


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


async def echo(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


# --- Bytes ----------------------------------------------------------------------------------------


def test_what_is_written_comes_back(any_loop, kind, tmp_path):
    data = os.urandom(1_000_000)

    async def session():
        async with serving(echo, kind, tmp_path) as connect:
            reader, writer = await connect()
            writer.write(data)
            answer = await reader.readexactly(len(data))
            writer.close()
            await writer.wait_closed()
            assert reader.at_eof() or await reader.read() == b""
            return answer

    assert any_loop.run_until_complete(session()) == data


SIZES = st.integers(1, 3000) | st.sampled_from([16_384, 65_536, 100_000])


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(SIZES, min_size=1, max_size=8), st.lists(SIZES, min_size=1, max_size=20))
def test_sizes_of_writes_and_reads_do_not_matter(any_loop, kind, tmp_path_factory, writes, reads):
    async def send(reader, writer):
        for number, size in enumerate(writes):
            writer.write(bytes([number]) * size)
            await writer.drain()
        writer.close()

    async def session():
        got = []
        async with serving(send, kind, tmp_path_factory.mktemp("socket")) as connect:
            reader, _ = await connect()
            reader._limit = 1000
            for size in reads:
                got.append(await reader.read(size))
                assert len(got[-1]) <= size
            got.append(await reader.read())
        return b"".join(got)

    expected = b"".join(bytes([number]) * size for number, size in enumerate(writes))
    assert any_loop.run_until_complete(session()) == expected


def test_a_reader_that_is_not_read_stops_the_peer(any_loop, kind, tmp_path):
    """Each side holds a bounded number of bytes, and goes on when it is read."""
    written = 0

    async def flood(reader, writer):
        nonlocal written
        writer.transport.set_write_buffer_limits(1000)
        while written < 50_000_000:
            writer.write(bytes(100_000))
            written += 100_000
            await writer.drain()
        writer.close()

    async def session():
        nonlocal written
        async with serving(flood, kind, tmp_path) as connect:
            reader, _writer = await connect()
            while not reader._paused:
                await asyncio.sleep(0)
            before = -1
            while before != written:
                before = written
                await turns(100)
            assert written < 50_000_000
            assert len(reader._buffer) < 700_000
            assert "paused" in repr(reader)
            total = 0
            while data := await reader.read(1_000_000):
                total += len(data)
            return total

    assert any_loop.run_until_complete(session()) == 50_000_000


def test_the_connection_goes_on_with_tls(any_loop, tmp_path):
    server_context, client_context = contexts()

    async def serve(reader, writer):
        writer.write(await reader.readline())
        await writer.start_tls(server_context)
        writer.write(await reader.readline())
        writer.close()

    async def session():
        async with serving(serve, "tcp", tmp_path) as connect:
            reader, writer = await connect()
            plain = writer.transport
            writer.write(b"open\n")
            assert await reader.readline() == b"open\n"
            await writer.start_tls(client_context, server_hostname="localhost")
            assert writer.get_extra_info("sslcontext") is client_context
            assert writer.transport is not plain
            assert reader._transport is writer.transport
            writer.write(b"secret\n")
            return await reader.readline()

    assert any_loop.run_until_complete(session()) == b"secret\n"


def test_pipes_can_be_read_as_streams(any_loop):
    read_fd, write_fd = os.pipe()
    os.write(write_fd, b"through a pipe\nand more")
    os.close(write_fd)

    async def read():
        reader = meantime.StreamReader()
        with open(read_fd, "rb", 0) as pipe:  # noqa: PTH123  it is a descriptor
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: meantime.StreamReaderProtocol(reader), pipe
            )
            lines = [await reader.readline(), await reader.read()]
            transport.close()
            await asyncio.sleep(0)
        return lines

    assert any_loop.run_until_complete(read()) == [b"through a pipe\n", b"and more"]


def test_a_child_speaks_through_our_streams_where_they_stand_for_asyncios(loop, monkeypatch):
    monkeypatch.setattr(streams, "StreamReader", meantime.StreamReader)
    monkeypatch.setattr(streams, "StreamWriter", meantime.StreamWriter)
    program = "import sys; data = sys.stdin.read(); print(data * 2); print('bad', file=sys.stderr)"

    async def talk():
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdin=-1, stdout=-1, stderr=-1
        )
        assert type(child.stdout) is meantime.StreamReader
        return await child.communicate(b"word" * 50_000)

    out, err = loop.run_until_complete(talk())
    assert out.strip() == b"word" * 100_000
    assert err.strip() == b"bad"


# --- Straight to the reader, and not --------------------------------------------------------------


class CountingProtocol(meantime.StreamReaderProtocol):
    """Looks at what passes."""

    seen = 0

    def data_received(self, data):
        self.seen += len(data)
        super().data_received(data)


class NotingReader(meantime.StreamReader):
    """Looks at what it is fed."""

    seen = 0

    def feed_data(self, data):
        self.seen += len(data)
        super().feed_data(data)


@pytest.mark.parametrize("reader_class", [meantime.StreamReader, NotingReader])
@pytest.mark.parametrize("protocol_class", [meantime.StreamReaderProtocol, CountingProtocol])
def test_overridden_methods_see_all_data(any_loop, kind, tmp_path, reader_class, protocol_class):
    async def session():
        loop = asyncio.get_running_loop()
        reader = reader_class()
        protocol = protocol_class(reader)
        async with serving(echo, kind, tmp_path) as connect:
            _, writer = await connect()
            writer.transport.set_protocol(protocol)
            writer.write(b"some data\n" * 1000)
            await reader.readexactly(10_000)
            writer.transport.set_protocol(writer._protocol)
            assert loop is protocol._loop
        return [getattr(looker, "seen", 10_000) for looker in (reader, protocol)]

    assert any_loop.run_until_complete(session()) == [10_000, 10_000]


def test_a_reader_that_nobody_has_is_not_kept(loop, tmp_path):
    """As on asyncio: what comes is dropped, not collected."""

    async def session():
        async with serving(echo, "tcp", tmp_path) as connect:
            reader, writer = await connect()
            transport, protocol = writer.transport, writer._protocol
            writer.write(b"data")
            with mock.patch("warnings.warn"):
                writer._transport = mock.Mock()
                del reader, writer
                gc.collect()
            assert protocol._stream_reader is None
            await turns(20)
            transport.close()

    loop.run_until_complete(session())


def test_an_error_of_a_reader_loses_the_connection(any_loop, failures, tmp_path):
    """A reader that was fed its end by hand cannot be fed more."""

    async def session():
        async with serving(echo, "tcp", tmp_path) as connect:
            reader, writer = await connect()
            reader.feed_eof()
            writer.write(b"data")
            with pytest.raises(AssertionError):
                await writer.wait_closed()

    any_loop.run_until_complete(session())
    assert [type(failure["exception"]) for failure in failures] == [AssertionError]


# --- The writer -----------------------------------------------------------------------------------


def test_drain_waits_only_while_it_must(any_loop):
    protocol = meantime.StreamReaderProtocol(None, loop=any_loop)
    transport = mock.Mock()
    transport.is_closing.return_value = False
    writer = meantime.StreamWriter(transport, protocol, None, any_loop)
    with pytest.raises(StopIteration):
        writer.drain().send(None)

    protocol.pause_writing()
    tasks = [any_loop.create_task(writer.drain()) for _ in range(3)]
    turn(any_loop)
    tasks[1].cancel()
    turn(any_loop)
    assert [task.done() for task in tasks] == [False, True, False]
    assert len(protocol._drain_waiters) == 2
    protocol.resume_writing()
    any_loop.run_until_complete(asyncio.wait([tasks[0], tasks[2]]))
    assert not protocol._drain_waiters
    transport.is_closing.return_value = True


@pytest.mark.parametrize("error", [None, OSError("broken")])
def test_drains_end_when_the_connection_is_lost(any_loop, error):
    protocol = meantime.StreamReaderProtocol(None, loop=any_loop)
    protocol.connection_made(mock.Mock())
    protocol.pause_writing()
    draining = any_loop.create_task(protocol._drain_helper())
    turn(any_loop)
    protocol.connection_lost(error)
    turn(any_loop, 2)

    assert draining.exception() is error
    with pytest.raises(ConnectionResetError, match="Connection lost"):
        any_loop.run_until_complete(protocol._drain_helper())


async def write_for_ever(writer):
    while True:
        writer.write(b"data")
        await writer.drain()


def test_a_lost_connection_is_noticed_by_who_only_writes(any_loop, tmp_path):
    async def hang_up(reader, writer):
        writer.transport.abort()

    async def session():
        async with serving(hang_up, "tcp", tmp_path) as connect:
            _, writer = await connect()
            with pytest.raises(ConnectionError):
                await write_for_ever(writer)

    any_loop.run_until_complete(session())


def test_a_writer_that_is_dropped_closes_and_says_so(any_loop, tmp_path):
    async def session():
        async with serving(echo, "tcp", tmp_path):
            server = await meantime.start_server(echo, LOCAL, 0)
            async with server:
                _, writer = await meantime.open_connection(*server.sockets[0].getsockname())
                transport = writer.transport
                writers = [writer]
                del _, writer
                with pytest.warns(ResourceWarning, match="unclosed <StreamWriter"):
                    writers.clear()
                assert transport.is_closing()
                await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    any_loop.run_until_complete(session())


def test_the_writer_hands_on_what_is_the_transports(any_loop):
    transport = mock.Mock()
    writer = meantime.StreamWriter(transport, mock.Mock(), None, any_loop)
    writer.write(b"a")
    writer.writelines([b"b", b"c"])
    writer.write_eof()
    writer.can_write_eof()
    writer.get_extra_info("peername", 7)
    writer.close()

    assert transport.mock_calls == [
        mock.call.write(b"a"),
        mock.call.writelines([b"b", b"c"]),
        mock.call.write_eof(),
        mock.call.can_write_eof(),
        mock.call.get_extra_info("peername", 7),
        mock.call.close(),
    ]
    assert repr(writer).startswith("<StreamWriter transport=<Mock")
    assert isinstance(writer, asyncio.StreamWriter)
    assert writer.transport is transport


# --- The callback ---------------------------------------------------------------------------------


@pytest.fixture
def failures(any_loop):
    """What was handed to the exception handler of `any_loop`."""
    situations = []
    any_loop.set_exception_handler(lambda _loop, situation: situations.append(situation))
    return situations


def connected_once(loop, callback, tmp_path):
    """Connect to a server with this callback, and return what is read from it."""

    async def session():
        async with serving(callback, "tcp", tmp_path) as connect:
            reader, _ = await connect()
            return await reader.read()

    return loop.run_until_complete(session())


def test_an_exception_of_the_callback_closes_and_is_reported(any_loop, failures, tmp_path):
    async def fail(reader, writer):
        raise LookupError("no such thing")

    assert connected_once(any_loop, fail, tmp_path) == b""
    assert [failure["message"] for failure in failures] == [
        "Unhandled exception in client_connected_cb"
    ]


def test_a_cancelled_callback_closes_silently(any_loop, failures, tmp_path):
    async def cancel_itself(reader, writer):
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    assert connected_once(any_loop, cancel_itself, tmp_path) == b""
    assert failures == []


def test_the_callback_may_be_a_plain_function(any_loop, failures, tmp_path):
    def answer(reader, writer):
        writer.write(b"answer")
        writer.close()

    assert connected_once(any_loop, answer, tmp_path) == b"answer"
    assert failures == []


def test_connections_leave_nothing(loop, kind, tmp_path):
    """Neither a reader, a writer nor a protocol, and without the garbage collector's help."""

    async def session():
        async with serving(echo, kind, tmp_path) as connect:
            for _ in range(3):
                reader, writer = await connect()
                writer.write(b"line\n")
                await reader.readline()
                writer.close()
                await writer.wait_closed()

    loop.run_until_complete(session())
    gc.collect()
    kinds = (meantime.StreamReader, meantime.StreamWriter, meantime.StreamReaderProtocol)
    assert not [found for found in gc.get_objects() if type(found) in kinds]
