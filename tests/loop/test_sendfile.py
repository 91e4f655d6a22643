"""sendfile and sock_sendfile: a file arrives in its turn, and its position says how far it got."""

import asyncio
import hashlib
import io
import os
import ssl
from pathlib import Path

import pytest

from meantime.loop import sendfile
from tests.core.wires import tcp_pair
from tests.loop.files_sent import CONTENT, SIZE, Collector, connected, small_pair

CERTIFICATE = Path(__file__).with_name("certificate.pem")


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
    assert file.tell() == offset + len(expected)


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


def test_a_file_is_sent_over_tls_to_a_reader_that_is_slow(loop, tmp_path):
    """The transport is full again and again, and each time it must be heard that it is not."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(CERTIFICATE)
    client_context = ssl.create_default_context(cafile=CERTIFICATE)
    path = tmp_path / "large"
    path.write_bytes(CONTENT * 40)

    async def serve(reader, writer):
        # Small pieces, and a turn for the sender after each.
        while piece := await reader.read(16 * 1024):
            received.update(piece)
            await asyncio.sleep(0)
        writer.close()
        ended.set()

    async def session():
        server = await asyncio.start_server(
            serve, "127.0.0.1", 0, ssl=server_context, limit=16 * 1024
        )
        async with server:
            _, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=client_context, server_hostname="localhost"
            )
            writer.transport.set_write_buffer_limits(high=1024)
            with path.open("rb") as large:
                assert await loop.sendfile(writer.transport, large) == 40 * SIZE
            writer.close()
            await writer.wait_closed()
            await ended.wait()

    ended = asyncio.Event()
    received = hashlib.sha256()
    loop.run_until_complete(session())
    assert received.digest() == hashlib.sha256(CONTENT * 40).digest()


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
