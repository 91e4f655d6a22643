"""sendfile and sock_sendfile: what waits, what stops them in the middle, and what they refuse."""

import asyncio
import os
import socket
from asyncio import constants

import pytest

from meantime.loop import sendfile
from tests.loop.files_sent import (
    CONTENT,
    SIZE,
    Collector,
    connected,
    small_pair,
    until_some_is_sent,
)

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
