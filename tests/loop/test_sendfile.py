"""sendfile and sock_sendfile: a file arrives in its turn, and its position says how far it got."""

import asyncio
import io
import os
import socket
import ssl
from asyncio import constants
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from meantime.loop import sendfile
from tests.core.wires import Recorder, tcp_pair

CONTENT = bytes(number % 251 for number in range(1009)) * 1500
SIZE = len(CONTENT)  # some 1.5 MB: several parts, and more than small buffers hold
CERTIFICATE = Path(__file__).with_name("certificate.pem")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        yield file


class Collector:
    """Reads a bare socket in the loop, and can be told when to begin."""

    def __init__(self, loop, sock):
        self.loop = loop
        self.sock = sock
        self.data = bytearray()

    async def read(self, count):
        while len(self.data) < count:
            piece = await self.loop.sock_recv(self.sock, 1 << 20)
            assert piece, "the connection ended before everything came"
            self.data += piece
        return bytes(self.data)

    async def read_to_end(self):
        while piece := await self.loop.sock_recv(self.sock, 1 << 20):
            self.data += piece
        return bytes(self.data)


def small_pair(kind="tcp"):
    """Return two connected sockets whose buffers hold much less than the file."""
    here, there = tcp_pair() if kind == "tcp" else socket.socketpair()
    for sock in (here, there):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    return here, there


@asynccontextmanager
async def connected(loop, kind="tcp", protocol=None):
    """Give a transport, its protocol, and who reads what it sends."""
    here, there = small_pair(kind)
    transport, protocol = await loop.create_connection(lambda: protocol or Recorder(), sock=here)
    try:
        yield transport, protocol, Collector(loop, there)
    finally:
        transport.abort()
        there.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@pytest.fixture(params=["tcp", "unix"])
def kind(request):
    return request.param


@pytest.fixture(params=["by the kernel", "by reading"])
def way(request, monkeypatch):
    """Both ways in which a plain transport can send a file."""
    if request.param == "by reading":

        async def refuse(*arguments):
            raise asyncio.SendfileNotAvailableError("not supported in this test")

        for name in ("_sendfile_native", "_sock_sendfile_native"):
            monkeypatch.setattr(sendfile.SendingFiles, name, refuse)
    return request.param


@pytest.fixture(params=["in memory", "cold", "of a strange kind"])
def cache(request, monkeypatch, tmp_path):
    """Where the file's pages are, as far as one can ask."""
    if request.param == "cold":
        asked = set()

        def answer(fd, offset, size):
            found = (offset, size) in asked
            asked.add((offset, size))
            return found

        monkeypatch.setattr(sendfile, "is_in_memory", answer)
        monkeypatch.setattr(sendfile, "read_from_memory", lambda *_: None)
    elif request.param == "of a strange kind":

        def refuse(*arguments):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "preadv", refuse)
    return request.param


# --- What arrives ---------------------------------------------------------------------------------


def test_a_file_is_sent_over_a_transport(loop, kind, way, cache, file):
    async def session():
        async with connected(loop, kind) as (transport, _, collector):
            reading = asyncio.create_task(collector.read(SIZE))
            sent = await loop.sendfile(transport, file)
            return sent, await reading

    assert loop.run_until_complete(session()) == (SIZE, CONTENT)
    assert file.tell() == SIZE


def test_a_file_is_sent_over_a_socket(loop, kind, way, cache, file):
    async def session():
        here, there = small_pair(kind)
        with here, there:
            reading = asyncio.create_task(Collector(loop, there).read(SIZE))
            sent = await loop.sock_sendfile(here, file)
            return sent, await reading

    assert loop.run_until_complete(session()) == (SIZE, CONTENT)
    assert file.tell() == SIZE


@pytest.mark.parametrize(
    ("offset", "count"),
    [
        (0, 1),
        (0, SIZE),
        (0, SIZE + 1),
        (5, None),
        (1000, 300_000),
        (SIZE - 1, None),
        (SIZE, None),
        (SIZE + 5, None),
        (SIZE + 5, 7),
    ],
)
def test_a_part_of_a_file_is_sent(loop, way, file, offset, count):
    expected = CONTENT[offset:] if count is None else CONTENT[offset : offset + count]

    async def session():
        async with connected(loop) as (transport, _, collector):
            reading = asyncio.create_task(collector.read(len(expected)))
            sent = await loop.sendfile(transport, file, offset, count)
            assert await reading == expected
            here, there = small_pair()
            with here, there:
                reading = asyncio.create_task(Collector(loop, there).read(len(expected)))
                sent_by_socket = await loop.sock_sendfile(here, file, offset, count)
                assert await reading == expected
        return sent, sent_by_socket

    assert loop.run_until_complete(session()) == (len(expected), len(expected))
    assert file.tell() == (offset + len(expected) if expected else file.tell())


def test_an_empty_file_sends_nothing(loop, way, tmp_path):
    async def session():
        async with connected(loop) as (transport, _, _collector):
            with (tmp_path / "empty").open("w+b") as empty:
                return await loop.sendfile(transport, empty), empty.tell()

    assert loop.run_until_complete(session()) == (0, 0)


def test_what_was_read_before_does_not_move_the_file(loop, way, file):
    """`offset` counts from the beginning, whatever the position is."""

    async def session():
        file.read(10)
        async with connected(loop) as (transport, _, collector):
            reading = asyncio.create_task(collector.read(SIZE))
            await loop.sendfile(transport, file)
            assert await reading == CONTENT
            assert file.read(1) == b""

    loop.run_until_complete(session())


def test_writes_go_before_and_after_the_file(loop, kind, way, file):
    before, after = b"b" * 100_000, b"a" * 100_000

    async def session():
        async with connected(loop, kind) as (transport, _, collector):
            reading = asyncio.create_task(collector.read_to_end())
            transport.write(before)
            await loop.sendfile(transport, file)
            transport.write(after)
            transport.close()
            assert await reading == before + CONTENT + after

    loop.run_until_complete(session())


def test_several_files_follow_one_another(loop, way, file):
    async def session():
        async with connected(loop) as (transport, _, collector):
            reading = asyncio.create_task(collector.read(3 * SIZE))
            for _ in range(3):
                await loop.sendfile(transport, file)
            assert await reading == 3 * CONTENT

    loop.run_until_complete(session())


def test_a_file_is_sent_over_tls(loop, file):
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(CERTIFICATE)
    client_context = ssl.create_default_context(cafile=CERTIFICATE)
    client_context.check_hostname = False
    received = bytearray()

    async def serve(reader, writer):
        while piece := await reader.read(1 << 20):
            received.extend(piece)
        writer.close()
        ended.set()

    async def session():
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context)
        async with server:
            _, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=client_context, server_hostname="localhost"
            )
            writer.write(b"before")
            with pytest.raises(RuntimeError, match="fallback is disabled"):
                await loop.sendfile(writer.transport, file, fallback=False)
            assert await loop.sendfile(writer.transport, file) == SIZE
            writer.write(b"after")
            writer.close()
            await writer.wait_closed()
            await ended.wait()

    ended = asyncio.Event()
    loop.run_until_complete(session())
    assert bytes(received) == b"before" + CONTENT + b"after"
    assert file.tell() == SIZE


@pytest.mark.parametrize("method", ["sendfile", "sock_sendfile"])
def test_what_is_no_file_on_a_disk_is_read_and_written(loop, method):
    """The kernel cannot send what is in Python's memory, or in a pipe."""

    async def send(source):
        here, there = small_pair()
        reading = asyncio.create_task(Collector(loop, there).read(SIZE))
        with here, there:
            if method == "sock_sendfile":
                with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
                    await loop.sock_sendfile(here, source, fallback=False)
                assert await loop.sock_sendfile(here, source) == SIZE
            else:
                transport, _ = await loop.create_connection(asyncio.Protocol, sock=here)
                with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
                    await loop.sendfile(transport, source, fallback=False)
                assert await loop.sendfile(transport, source) == SIZE
            assert await reading == CONTENT
            if method == "sendfile":
                transport.close()
                await asyncio.sleep(0)

    async def session():
        await send(io.BytesIO(CONTENT))
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb") as sink:

            def feed():
                sink.write(CONTENT)
                sink.close()

            fed = loop.run_in_executor(None, feed)
            await send(source)
            await fed

    loop.run_until_complete(session())


def test_a_file_of_the_kernel_is_sent_although_it_says_that_it_is_empty(loop):
    """/proc holds regular files whose size is 0."""

    async def session():
        async with connected(loop) as (transport, _, collector):
            with Path("/proc/self/limits").open("rb") as limits:
                sent = await loop.sendfile(transport, limits)
            return await collector.read(sent)

    expected = Path("/proc/self/limits").read_bytes()
    assert loop.run_until_complete(session()) == expected


# --- The loop goes on -----------------------------------------------------------------------------


def test_the_loop_goes_on_while_a_file_is_sent(loop, file, monkeypatch):
    """A peer that reads as fast as the kernel sends must not hold the loop."""
    turns = 0

    def count():
        nonlocal turns
        turns += 1
        loop.call_soon(count)

    async def session():
        here, there = tcp_pair()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=here)
        with there:
            there.settimeout(10)
            reading = loop.run_in_executor(None, read_all, there, SIZE)
            count()
            await loop.sendfile(transport, file)
            seen = turns
            await reading
            transport.close()
            await asyncio.sleep(0)
            return seen

    assert loop.run_until_complete(session()) >= SIZE // sendfile.PART_BYTES


def read_all(sock, size):
    while size:
        size -= len(sock.recv(size))


def test_a_part_that_is_not_in_memory_is_read_by_a_thread_first(loop, file, monkeypatch):
    """sendfile(2) would wait for the disk, and the loop with it."""
    read = []

    def bring_to_memory(fd, offset, size):
        assert asyncio._get_running_loop() is None
        read.append((offset, size))

    monkeypatch.setattr(sendfile, "is_in_memory", lambda fd, offset, size: offset in done(read))
    monkeypatch.setattr(sendfile, "bring_to_memory", bring_to_memory)

    async def session():
        async with connected(loop) as (transport, _, collector):
            reading = asyncio.create_task(collector.read(100_000))
            await loop.sendfile(transport, file, 5, 100_000)
            await reading

    loop.run_until_complete(session())
    assert read[0] == (5, 100_000)


def done(read):
    return {offset for offset, _ in read}


def test_pages_in_memory_are_told_from_those_on_the_disk(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        if not sendfile.is_in_memory(file.fileno(), 0, SIZE):
            pytest.skip("this file system cannot be asked")
        assert sendfile.is_in_memory(file.fileno(), SIZE + 100, 5)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert not sendfile.is_in_memory(file.fileno(), 0, SIZE)
        sendfile.bring_to_memory(file.fileno(), 0, SIZE)
        assert sendfile.is_in_memory(file.fileno(), 0, SIZE)


# --- Nobody comes in between ----------------------------------------------------------------------


def test_writing_while_the_kernel_sends_a_file_is_an_error(loop, file):
    async def session():
        async with connected(loop) as (transport, _, collector):
            task = asyncio.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0)
            for call in (
                lambda: transport.write(b"x"),
                lambda: transport.writelines([b"x"]),
                transport._begin_file,
            ):
                with pytest.raises(RuntimeError, match="sendfile is in progress"):
                    call()
            with pytest.raises(RuntimeError, match="sendfile is in progress"):
                await loop.sendfile(transport, file)
            assert await collector.read(SIZE) == CONTENT
            assert await task == SIZE
            transport.write(b"x")
            assert await collector.read(SIZE + 1) == CONTENT + b"x"

    loop.run_until_complete(session())


def test_an_end_that_is_written_while_a_file_is_sent_comes_after_it(loop, way, file):
    async def session():
        async with connected(loop) as (transport, _, collector):
            task = asyncio.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0)
            if way == "by the kernel":
                transport.write_eof()
            assert await collector.read(SIZE) == CONTENT
            assert await task == SIZE
            transport.write_eof()
            assert await collector.read_to_end() == CONTENT
            with pytest.raises(RuntimeError, match=r"after write_eof\(\)"):
                await loop.sendfile(transport, file)

    loop.run_until_complete(session())


def test_the_protocol_is_given_no_data_while_a_file_is_sent(loop, way, file):
    """It would answer in the middle of the file."""

    async def session():
        async with connected(loop) as (transport, protocol, collector):
            task = asyncio.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0)
            collector.sock.send(b"question")
            assert not transport.is_reading()
            await collector.read(500_000)
            await asyncio.sleep(0)
            assert protocol.data == b""
            await collector.read(SIZE)
            await task
            assert transport.is_reading()
            while not protocol.data:
                await asyncio.sleep(0)
            assert protocol.data == b"question"
            assert transport.get_protocol() is protocol

    loop.run_until_complete(session())


def test_a_transport_that_was_paused_stays_paused(loop, way, file):
    async def session():
        async with connected(loop) as (transport, _, collector):
            transport.pause_reading()
            reading = asyncio.create_task(collector.read(SIZE))
            await loop.sendfile(transport, file)
            await reading
            assert not transport.is_reading()

    loop.run_until_complete(session())


def test_the_protocol_knows_at_the_end_whether_it_may_write(loop, way, file):
    """A pause that it was told of must not last for ever."""

    async def session():
        async with connected(loop) as (transport, protocol, collector):
            transport.write(b"b" * 6_000_000)
            assert protocol.told == ["made", "pause"]
            reading = asyncio.create_task(collector.read(6_000_000 + SIZE))
            await loop.sendfile(transport, file)
            await reading
            await asyncio.sleep(0)
            assert protocol.told.count("pause") == protocol.told.count("resume") >= 1

    loop.run_until_complete(session())


# --- Ends in the middle ---------------------------------------------------------------------------


async def until_some_is_sent(collector, count=100_000):
    await collector.read(count)


def test_cancelling_stops_and_the_position_says_where(loop, way, cache, file):
    async def session():
        async with connected(loop) as (transport, protocol, collector):
            task = asyncio.create_task(loop.sendfile(transport, file))
            await until_some_is_sent(collector)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            position = file.tell()
            assert 100_000 <= position < SIZE
            assert transport.is_reading()
            assert transport.get_protocol() is protocol
            transport.write(b"the end")
            transport.close()
            assert await collector.read_to_end() == CONTENT[:position] + b"the end"

    loop.run_until_complete(session())


def test_cancelling_a_socket_stops_and_the_position_says_where(loop, cache, file):
    async def session():
        here, there = small_pair()
        with here, there:
            collector = Collector(loop, there)
            task = asyncio.create_task(loop.sock_sendfile(here, file))
            await until_some_is_sent(collector)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            position = file.tell()
            assert await collector.read(position) == CONTENT[:position]
            await loop.sock_sendall(here, b"x")
            assert await collector.read(position + 1) == CONTENT[:position] + b"x"

    loop.run_until_complete(session())


@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("queued", [0, 5_000_000])
def test_closing_in_the_middle_is_an_error_of_the_call(loop, way, file, end, queued):
    async def session():
        async with connected(loop) as (transport, protocol, collector):
            transport.write(b"q" * queued)
            task = asyncio.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0)
            await until_some_is_sent(collector, 1)
            getattr(transport, end)()
            reading = asyncio.create_task(collector.read_to_end())
            with pytest.raises(ConnectionError, match="Connection closed"):
                await task
            await reading
            while not protocol.lost:
                await asyncio.sleep(0)
            assert protocol.told.count("lost") == 1

    loop.run_until_complete(session())


def test_a_peer_that_leaves_in_the_middle_is_an_error(loop, kind, way, file):
    async def session():
        async with connected(loop, kind) as (transport, protocol, collector):
            task = asyncio.create_task(loop.sendfile(transport, file))
            await until_some_is_sent(collector)
            collector.sock.close()
            with pytest.raises(ConnectionError):
                await task
            assert 100_000 <= file.tell() < SIZE
            while not protocol.lost:
                await asyncio.sleep(0)
            assert protocol.told.count("lost") == 1

    loop.run_until_complete(session())


def test_a_peer_that_leaves_a_socket_in_the_middle_is_an_error(loop, kind, way, file):
    async def session():
        here, there = small_pair(kind)
        with here, there:
            task = asyncio.create_task(loop.sock_sendfile(here, file))
            await until_some_is_sent(Collector(loop, there))
            there.close()
            with pytest.raises(ConnectionError):
                await task
            assert file.tell() < SIZE
            # Where the file is read and written, whole parts are counted.
            assert file.tell() >= 100_000 or way == "by reading"

    loop.run_until_complete(session())


def test_a_file_that_shrinks_ends_the_call_where_it_ends(loop, way, tmp_path):
    async def session():
        async with connected(loop) as (transport, _, collector):
            with (tmp_path / "file").open("w+b") as file:
                file.write(CONTENT)
                file.flush()
                task = asyncio.create_task(loop.sendfile(transport, file, 0, SIZE))
                await until_some_is_sent(collector)
                file.truncate(1_000_000)
                data = await collector.read(1_000_000)
                sent = await task
                assert data == CONTENT[:1_000_000]
                return sent

    assert loop.run_until_complete(session()) == 1_000_000


def test_a_file_that_is_closed_in_the_middle_is_an_error(loop, way, file):
    """Its number may belong to another file by then."""

    async def session():
        async with connected(loop) as (transport, _, collector):
            task = asyncio.create_task(loop.sendfile(transport, file))
            await until_some_is_sent(collector)
            file.close()
            reading = asyncio.create_task(collector.read_to_end())
            with pytest.raises(ValueError, match="closed file"):
                await task
            transport.close()
            assert CONTENT.startswith(await reading)

    loop.run_until_complete(session())


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 0), ValueError, "count must be a positive integer"),
        ((0, -1), ValueError, "count must be a positive integer"),
        ((0, 1.5), TypeError, "count must be a positive integer"),
        ((-1,), ValueError, "offset must be a non-negative integer"),
        (("0",), TypeError, "offset must be a non-negative integer"),
    ],
)
def test_what_is_no_part_is_refused(loop, file, arguments, error, message):
    async def session():
        async with connected(loop) as (transport, _, collector):
            with pytest.raises(error, match=message):
                await loop.sendfile(transport, file, *arguments)
            with pytest.raises(error, match=message):
                await loop.sock_sendfile(collector.sock, file, *arguments)

    loop.run_until_complete(session())


def test_text_is_refused(loop, tmp_path):
    async def session():
        async with connected(loop) as (transport, _, collector):
            with (tmp_path / "text").open("w+") as text:
                for refused in (
                    loop.sendfile(transport, text),
                    loop.sock_sendfile(collector.sock, text),
                ):
                    with pytest.raises(ValueError, match="file should be opened in binary mode"):
                        await refused

    loop.run_until_complete(session())


def test_a_closing_transport_is_refused(loop, file):
    async def session():
        async with connected(loop) as (transport, _, _collector):
            transport.close()
            with pytest.raises(RuntimeError, match="Transport is closing"):
                await loop.sendfile(transport, file)

    loop.run_until_complete(session())


def test_transports_that_are_no_streams_in_both_directions_are_refused(loop, file):
    async def session():
        datagrams, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, family=socket.AF_INET
        )
        reading, writing = os.pipe()
        pipe, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(writing, "wb"))
        for transport in (datagrams, pipe):
            with pytest.raises(RuntimeError, match="sendfile is not supported for transport"):
                await loop.sendfile(transport, file)
            transport.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        os.close(reading)

    loop.run_until_complete(session())


def test_a_datagram_socket_is_refused(loop, file):
    with (
        socket.socket(type=socket.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match="only SOCK_STREAM type sockets are supported"),
    ):
        loop.run_until_complete(loop.sock_sendfile(sock, file))


def test_a_blocking_socket_does_not_block_the_loop(loop, file):
    """The kernel would wait in sendfile(2) until the peer has read it all."""

    async def session():
        here, there = small_pair()
        here.setblocking(True)
        with here, there:
            with pytest.raises(asyncio.SendfileNotAvailableError, match="block the loop"):
                await loop.sock_sendfile(here, file, fallback=False)
            reading = asyncio.create_task(Collector(loop, there).read(SIZE))
            assert await loop.sock_sendfile(here, file) == SIZE
            assert await reading == CONTENT
            loop.set_debug(True)
            with pytest.raises(ValueError, match="the socket must be non-blocking"):
                await loop.sock_sendfile(here, file)

    loop.run_until_complete(session())


def test_a_socket_of_a_transport_is_refused(loop, file):
    async def session():
        async with connected(loop) as (transport, _, _collector):
            sock = transport.get_extra_info("socket")
            sock = transport._sock
            with pytest.raises(RuntimeError, match="is used by transport"):
                await loop.sock_sendfile(sock, file)

    loop.run_until_complete(session())


class Foreign(asyncio.Transport):
    """A transport of somebody else's, with public methods only, over one of ours."""

    _sendfile_compatible = constants._SendfileMode.FALLBACK

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def write(self, data):
        self.inner.write(data)

    def __getattribute__(self, name):
        if name.startswith("_") or name in {"inner", "write"}:
            return super().__getattribute__(name)
        return getattr(self.inner, name)


def test_a_transport_of_somebody_else_is_written_to_no_faster_than_it_sends(loop, file):
    largest = 0

    class Watched(Foreign):
        def write(self, data):
            nonlocal largest
            super().write(data)
            largest = max(largest, self.get_write_buffer_size())

    async def session():
        async with connected(loop) as (transport, _, collector):
            reading = asyncio.create_task(collector.read(SIZE))
            assert await loop.sendfile(Watched(transport), file) == SIZE
            assert await reading == CONTENT

    loop.run_until_complete(session())
    assert 0 < largest <= 64 * 1024 + sendfile.PART_BYTES


def test_a_foreign_transport_that_claims_to_be_native_is_written_to(loop, file):
    class Claiming(Foreign):
        _sendfile_compatible = constants._SendfileMode.TRY_NATIVE

    async def session():
        async with connected(loop) as (transport, _, collector):
            reading = asyncio.create_task(collector.read(SIZE))
            with pytest.raises(asyncio.SendfileNotAvailableError, match="not supported"):
                await loop.sendfile(Claiming(transport), file, fallback=False)
            assert await loop.sendfile(Claiming(transport), file) == SIZE
            assert await reading == CONTENT

    loop.run_until_complete(session())
