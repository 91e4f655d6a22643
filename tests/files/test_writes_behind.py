"""A full buffer is written while the program goes on, and nothing is lost, doubled or mixed up.

The disk is a pipe that is full, and takes something when a test says so. The buffer has room for
one piece, or for two if it is Python's own: that is used once somebody has taken the file below.
"""

import asyncio
import gc
import os
import resource
import subprocess
import sys
import threading

import pytest

import meantime
from meantime._core.poller.threadpool import thread_count
from tests.files.full_file import FullFile

BUFFERING = 100
PIECES = [bytes([65 + number]) * 50 for number in range(20)]


@pytest.fixture(params=["gathered", "in Python's buffer"])
def full(request, tmp_path):
    is_lent = request.param != "gathered"
    full = FullFile(tmp_path / "full", is_lent)
    # One buffer is being written, one is in line, and one is not full.
    full.ahead = 5 if is_lent else 3
    yield full
    full.end()


def under_way(loop):
    return loop._poller.operations_in_flight


async def some_turns():
    for _ in range(3):
        await asyncio.sleep(0)


async def write_ahead(full, file):
    """Write as much as can be written while the disk takes nothing."""
    for piece in PIECES[: full.ahead]:
        assert await asyncio.wait_for(file.write(piece), 5) == len(piece)


async def take_all(full, size):
    """Read until it is as much. What the pipe was filled with is left out."""
    taken = b""
    while len(taken) < full.size + size:
        await asyncio.sleep(0)
        if full.has_some():
            taken += full.take()
    assert not any(taken[: full.size])
    return taken[full.size :]


def joined(count):
    return b"".join(PIECES[:count])


def test_writes_go_on_while_a_full_buffer_is_written_and_then_wait(loop, full):
    async def main():
        file = await full.open(BUFFERING)
        await write_ahead(full, file)
        next_one = asyncio.ensure_future(file.write(PIECES[full.ahead]))
        await some_turns()
        assert under_way(loop) == 1
        assert not next_one.done()
        full.take()
        assert await next_one == 50
        await file.close()
        assert full.take() == joined(full.ahead + 1)

    loop.run_until_complete(main())


@pytest.mark.parametrize("last", ["flush", "close"])
def test_what_follows_waits_until_all_is_written(loop, full, last):
    async def main():
        file = await full.open(BUFFERING)
        await write_ahead(full, file)
        task = asyncio.ensure_future(getattr(file, last)())
        await some_turns()
        assert not task.done()
        taken = await take_all(full, 50 * full.ahead)
        await task
        assert taken == joined(full.ahead)
        await file.close()

    loop.run_until_complete(main())


def test_small_large_and_other_kinds_of_bytes_stay_in_their_order(loop, full):
    large = os.urandom(100_000)

    async def main():
        file = await full.open(BUFFERING)
        await write_ahead(full, file)

        async def others():
            await file.write(bytearray(b"an array"))
            await file.write(large)
            await file.writelines([b"one ", b"two"])
            await file.write(b"small")
            await file.close()

        taking = asyncio.ensure_future(take_all(full, 50 * full.ahead + 8 + len(large) + 12))
        await others()
        return await taking

    written = loop.run_until_complete(main())
    assert written == joined(full.ahead) + b"an array" + large + b"one twosmall"


def test_a_write_that_finds_room_does_not_overtake_what_waits_in_line(loop, full):
    async def main():
        file = await full.open(BUFFERING)
        await write_ahead(full, file)

        async def write(*pieces):
            if len(pieces) > 1:
                await file.writelines(pieces)
            else:
                await file.write(*pieces)

        tasks = [asyncio.ensure_future(write(*pieces)) for pieces in ((b"1", b"2"), (b"3",))]
        await some_turns()
        taking = asyncio.ensure_future(take_all(full, 50 * full.ahead + 3))
        await asyncio.gather(*tasks)
        await file.close()
        assert await taking == joined(full.ahead) + b"123"

    loop.run_until_complete(main())


def test_text_is_written_behind_too(loop, tmp_path):
    lines = [f"line {number} äöü\n" for number in range(100_000)]

    async def main():
        async with meantime.open_file(tmp_path / "text", "w", encoding="utf-8") as file:
            for line in lines:
                await file.write(line)

    loop.run_until_complete(main())
    assert (tmp_path / "text").read_text(encoding="utf-8") == "".join(lines)


def test_a_cancelled_flush_leaves_the_bytes_and_their_order(loop, full):
    async def main():
        file = await full.open(BUFFERING)
        await write_ahead(full, file)
        task = asyncio.ensure_future(file.flush())
        await some_turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        taking = asyncio.ensure_future(take_all(full, 50 * (full.ahead + 1)))
        assert await file.write(PIECES[full.ahead]) == 50
        await file.close()
        assert await taking == joined(full.ahead + 1)

    loop.run_until_complete(main())


def test_no_bytes_at_all_may_be_written(loop, tmp_path):
    async def main():
        async with meantime.open_file(tmp_path / "some", "wb") as file:
            for data in (b"", b"some", b"", bytearray(), b""):
                assert await file.write(data) == len(data)
        with pytest.raises(ValueError, match="closed"):
            await file.write(b"")

    loop.run_until_complete(main())
    assert (tmp_path / "some").read_bytes() == b"some"


# ---- errors


async def until_refused(full, file):
    """Have the write that is under way fail, while nobody waits for it."""
    full.refuse()
    while under_way(asyncio.get_running_loop()):
        await asyncio.sleep(0)
    return file


def test_the_next_write_tries_again_and_raises_what_went_wrong(loop, full, tmp_path):
    async def main():
        file = await full.open(BUFFERING)
        await write_ahead(full, file)
        await until_refused(full, file)
        for _ in range(2):
            with pytest.raises(BrokenPipeError):
                await file.write(b"not taken")
            with pytest.raises(BrokenPipeError):
                await file.write(bytearray(b"not taken"))
            with pytest.raises(BrokenPipeError):
                await file.writelines([b"not", b"taken"])
            with pytest.raises(BrokenPipeError):
                await file.write(bytes(100_000))
        full.become(tmp_path / "better")
        assert await file.write(PIECES[full.ahead]) == 50
        await file.close()

    loop.run_until_complete(main())
    assert (tmp_path / "better").read_bytes() == joined(full.ahead + 1)


@pytest.mark.parametrize("call", ["flush", "close", "fsync", "tell"])
def test_every_other_call_raises_it_too(loop, full, tmp_path, call):
    async def main():
        file = await full.open(BUFFERING)
        await write_ahead(full, file)
        await until_refused(full, file)
        with pytest.raises(BrokenPipeError):
            await getattr(file, call)()
        if call != "close":
            full.become(tmp_path / "better")
            await file.close()

    loop.run_until_complete(main())
    if call != "close":
        assert (tmp_path / "better").read_bytes() == joined(full.ahead)


def test_a_second_try_that_is_cancelled_is_made_all_the_same(loop, full):
    """And then the next one in line has its turn."""

    async def main():
        file = await full.open(BUFFERING)
        await write_ahead(full, file)
        await until_refused(full, file)
        again = FullFile(full.path)
        again.file = file
        again.reader, writer = os.pipe()
        again.size = 65536
        os.write(writer, bytes(again.size))
        os.dup2(writer, file.fileno(), inheritable=False)
        os.close(writer)
        task = asyncio.ensure_future(file.write(b"not taken"))
        while not under_way(loop):
            await asyncio.sleep(0)
        behind = asyncio.ensure_future(file.write(PIECES[full.ahead]))
        await some_turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not behind.done()
        taking = asyncio.ensure_future(take_all(again, 50 * (full.ahead + 1)))
        assert await behind == 50
        await file.close()
        assert await taking == joined(full.ahead + 1)
        again.end()

    loop.run_until_complete(main())


def test_a_large_write_that_fails_leaves_the_small_ones_before_it(loop, full, tmp_path):
    async def main():
        file = await full.open(BUFFERING)
        await file.write(PIECES[0])
        full.take()
        full.refuse()
        with pytest.raises(BrokenPipeError):
            await file.write(bytes(100_000))
        full.become(tmp_path / "better")
        await file.write(PIECES[1])
        await file.close()

    loop.run_until_complete(main())
    assert (tmp_path / "better").read_bytes() == joined(2)


# ---- who else has the file


def test_whoever_takes_the_file_below_finds_it_written(loop, full):
    async def main():
        file = await full.open(BUFFERING)
        await write_ahead(full, file)
        reader = threading.Timer(0.1, full.take)
        reader.start()
        file.wrapped.flush()
        reader.join()
        assert full.take() == joined(full.ahead)
        # And what comes after that does, too.
        await file.write(PIECES[full.ahead])
        file.wrapped.flush()
        assert full.take() == PIECES[full.ahead]
        await file.close()

    loop.run_until_complete(main())


def test_another_thread_that_takes_it_meanwhile_is_told_what_to_do(loop, full):
    async def main():
        file = await full.open(BUFFERING)
        await write_ahead(full, file)
        with pytest.raises(RuntimeError, match="Await flush"):
            await asyncio.to_thread(lambda: file.wrapped)
        full.take()
        await file.close()
        assert full.take() == joined(full.ahead)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())


def test_a_file_that_is_dropped_has_what_was_written(loop, tmp_path):
    async def main():
        file = await meantime.open_file(tmp_path / "dropped", "wb")
        for piece in PIECES:
            await file.write(piece)

    def drop():
        loop.run_until_complete(main())
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed file"):
        drop()
    assert (tmp_path / "dropped").read_bytes() == joined(len(PIECES))


def test_a_loop_that_is_closed_leaves_the_rest_to_the_file(backend, full):
    async def main():
        file = await full.open(BUFFERING)
        await write_ahead(full, file)
        return file

    loop = meantime.EventLoop(backend=backend)
    file = loop.run_until_complete(main())
    reader = threading.Timer(0.1, full.take)
    reader.start()
    loop.close()
    reader.join()
    asyncio.run(file.close())
    assert full.take() == joined(full.ahead)


# ---- the threads


# The thread in which Python opened the file is there still.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_finds_no_idle_thread_and_later_writes_have_one(loop, tmp_path):
    async def write(text):
        async with meantime.open_file(tmp_path / "some", "wb") as file:
            await file.write_at(text, 0)

    loop.run_until_complete(write(b"before"))
    assert thread_count() > 0
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with asyncio.Runner(loop_factory=meantime.new_event_loop) as runner:
                runner.run(write(b"child"))
            status = (tmp_path / "some").read_bytes() != b"child"
        finally:
            os._exit(status)
    assert thread_count() == 0
    assert os.waitpid(child, 0)[1] == 0
    loop.run_until_complete(write(b"after"))
    assert (tmp_path / "some").read_bytes() == b"after"


LEAVING = """
import asyncio, os, sys
import meantime

async def main():
    file = await meantime.open_file(sys.argv[1], "wb")
    os.dup2(1, file.fileno())
    task = asyncio.ensure_future(file.write_at(b"written", 0))
    while not asyncio.get_running_loop()._poller.operations_in_flight:
        await asyncio.sleep(0)
    print("leaving", file=sys.stderr, flush=True)

loop = meantime.EventLoop(backend=sys.argv[2])
loop.set_exception_handler(lambda *_: None)
loop.run_until_complete(main())
"""


def test_a_program_that_ends_has_its_writes_made(backend, full):
    """It closes neither its file nor its loop."""
    asyncio.run(full.open())
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", LEAVING, str(full.path) + ".new", backend],
        stdout=full.file.fileno(),
        stderr=subprocess.PIPE,
        text=True,
    )
    asyncio.run(full.file.close())
    assert child.stderr.readline() == "leaving\n"
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.2)
    full.take()
    assert child.wait(20) == 0
    assert full.take() == b"written"
    child.stderr.close()


WITHOUT_THREADS = """
import asyncio, os, resource, sys
import meantime

async def main():
    async with meantime.open_file(sys.argv[1], "r+b") as file:
        os.setresuid(65534, 65534, 65534)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        try:
            await file.write_at(b"data", 0)
        except OSError as error:
            print(error)

meantime.EventLoop(backend=sys.argv[2]).run_until_complete(main())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
def test_without_a_thread_the_error_says_what_to_do(backend, tmp_path):
    assert resource.RLIMIT_NPROC
    path = tmp_path / "some"
    path.write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_THREADS, str(path), backend],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "no thread can be started" in done.stdout, done
    assert "ulimit -u" in done.stdout
