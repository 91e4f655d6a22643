"""connect_read_pipe and connect_write_pipe, as programs use them."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest


def reading_end(fd):
    return os.fdopen(fd, "rb", 0)


def writing_end(fd):
    return os.fdopen(fd, "wb", 0)


def test_streams_work_over_a_pipe(loop):
    """The way that the documentation of many programs shows for standard input and output."""

    async def session():
        here, there = os.pipe()
        reader = asyncio.StreamReader()
        source, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), reading_end(here)
        )
        sink, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, writing_end(there)
        )
        writer = asyncio.StreamWriter(sink, protocol, None, loop)

        async def write():
            for number in range(20_000):
                writer.write(b"line %d\n" % number)
                await writer.drain()
            writer.close()

        task = asyncio.create_task(write())
        lines = [line async for line in reader]
        await task
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return lines, source.is_closing(), sink.is_closing()

    expected = [b"line %d\n" % number for number in range(20_000)]
    assert loop.run_until_complete(session()) == (expected, True, True)


@pytest.mark.parametrize("method", ["connect_read_pipe", "connect_write_pipe"])
def test_the_protocol_knows_of_its_transport_when_the_call_returns(loop, method):
    class Made(asyncio.Protocol):
        transport = None

        def connection_made(self, transport):
            self.transport = transport

    async def session():
        transport, protocol = await getattr(loop, method)(Made, own)
        assert protocol.transport is transport
        transport.close()
        await asyncio.sleep(0)

    here, there = os.pipe()
    own, other = (here, there) if method == "connect_read_pipe" else (there, here)
    own = reading_end(own) if method == "connect_read_pipe" else writing_end(own)
    loop.run_until_complete(session())
    assert own.closed
    os.close(other)


@pytest.mark.parametrize("method", ["connect_read_pipe", "connect_write_pipe"])
def test_a_cancelled_call_closes_the_pipe(loop, method):
    async def session():
        task = asyncio.create_task(getattr(loop, method)(asyncio.Protocol, own))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)

    here, there = os.pipe()
    own, other = (here, there) if method == "connect_read_pipe" else (there, here)
    own = reading_end(own) if method == "connect_read_pipe" else writing_end(own)
    loop.run_until_complete(session())
    assert own.closed
    os.close(other)


@pytest.mark.parametrize("method", ["connect_read_pipe", "connect_write_pipe"])
def test_a_failing_protocol_factory_leaves_the_pipe_to_the_caller(loop, method):
    def fail():
        raise ZeroDivisionError

    here, there = os.pipe()
    with reading_end(here) as own, writing_end(there):
        with pytest.raises(ZeroDivisionError):
            loop.run_until_complete(getattr(loop, method)(fail, own))
        assert not own.closed


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("connect_read_pipe", "Pipe transport is for pipes/sockets only.*to_thread"),
        ("connect_write_pipe", "only for pipes, sockets and character devices.*to_thread"),
    ],
)
def test_a_file_is_refused_with_another_way(loop, tmp_path, method, message):
    """`program < file` is where it happens."""
    with (tmp_path / "file").open("w+b") as file, pytest.raises(ValueError, match=message):
        loop.run_until_complete(getattr(loop, method)(asyncio.Protocol, file))


@pytest.mark.parametrize("method", ["connect_read_pipe", "connect_write_pipe"])
def test_debug_mode_says_what_was_connected(loop, method, caplog):
    async def session():
        transport, _ = await getattr(loop, method)(asyncio.Protocol, own)
        transport.close()
        await asyncio.sleep(0)

    caplog.set_level(logging.DEBUG, "asyncio")
    loop.set_debug(True)
    here, there = os.pipe()
    own, other = (here, there) if method == "connect_read_pipe" else (there, here)
    own = reading_end(own) if method == "connect_read_pipe" else writing_end(own)
    loop.run_until_complete(session())
    os.close(other)
    assert f"pipe {here if method == 'connect_read_pipe' else there} connected:" in caplog.text


def test_a_thread_may_feed_the_pipe(loop):
    """A blocking library at the other end, in this process or in another one."""

    def feed():
        with os.fdopen(there, "wb") as file:
            for _ in range(100):
                file.write(b"x" * 50_000)

    async def session():
        reader = asyncio.StreamReader(limit=1000)
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), reading_end(here)
        )
        count = 0
        while piece := await reader.read(10_000):
            count += len(piece)
        await asyncio.sleep(0)
        return count

    here, there = os.pipe()
    thread = threading.Thread(target=feed)
    thread.start()
    assert loop.run_until_complete(session()) == 5_000_000
    thread.join()


# What the documentation says is how it is done.
PAGE = Path(__file__).parents[2] / "docs/how-to/pipes-and-files.md"
STDIO = PAGE.read_text().split("```python\n")[1].split("```")[0]


@pytest.mark.slow
def test_a_program_reads_its_standard_input_and_writes_its_standard_output(backend):
    lines = b"".join(b"line %d\n" % number for number in range(10_000))
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", STDIO],
        input=lines,
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "MEANTIME_BACKEND": backend},
    )
    assert result.stderr == b""
    assert result.stdout == lines.upper()


@pytest.mark.slow
def test_a_program_without_input_sees_its_end_at_once(backend):
    """/dev/null cannot be watched by epoll, and on asyncio such a program waits for ever."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", STDIO],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "MEANTIME_BACKEND": backend},
    )
    assert (result.stdout, result.stderr, result.returncode) == (b"", b"", 0)
