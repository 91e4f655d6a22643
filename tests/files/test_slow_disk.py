"""Reads and writes that the kernel has not done yet.

No disk here is slow enough to be met at it. So the file's descriptor is made that of a pipe: a read
of it is under way until somebody writes, and a write while the pipe is full.
"""

import array
import asyncio
import errno
import fcntl
import gc
import os
import termios
import threading
import warnings
import weakref

import pytest

import meantime
from meantime import files
from tests.files.full_file import FullFile


@pytest.fixture
def loop(backend):
    loop = meantime.EventLoop(backend=backend)
    yield loop
    end(loop)


def end(loop):
    if not loop.is_closed():
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class SlowFile:
    """An open file whose disk answers when it is told to."""

    def __init__(self, path):
        path.write_bytes(b"never read")
        self.path = path
        self.writer = -1

    async def open(self):
        self.file = await meantime.open_file(self.path, "rb")
        reader, self.writer = os.pipe()
        os.dup2(reader, self.file.fileno(), inheritable=False)
        os.close(reader)
        return self.file

    def answer(self, data):
        os.write(self.writer, data)

    async def until_taken(self):
        while array.array("i", fcntl.ioctl(self.writer, termios.FIONREAD, b"\0" * 4))[0]:
            await asyncio.sleep(0)

    def end(self):
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1


@pytest.fixture
def slow(tmp_path):
    slow = SlowFile(tmp_path / "slow")
    yield slow
    slow.end()


def under_way(loop):
    return loop._poller.operations_in_flight


async def start_read(file, size=10):
    """Have the kernel begin a read. Returns the task that waits for it."""
    task = asyncio.ensure_future(file.read_at(size, 0))
    while not under_way(asyncio.get_running_loop()):
        await asyncio.sleep(0)
    await some_turns()
    assert not task.done()
    return task


async def some_turns():
    """Let the loop speak to the kernel."""
    for _ in range(3):
        await asyncio.sleep(0)


async def answered(slow, answer):
    """Return what a read of ten bytes gets while `answer` acts."""
    async with await slow.open() as file:
        task = await start_read(file)
        await answer()
        return await task


def test_a_read_waits_for_the_disk_and_holds_up_nothing_else(loop, slow):
    async def answer():
        slow.answer(b"0123456789")

    assert loop.run_until_complete(answered(slow, answer)) == b"0123456789"
    assert under_way(loop) == 0


def test_no_thread_is_made_for_it(loop, slow):
    async def main():
        async with meantime.open_file(slow.path, "wb") as file:
            await file.write_at(b"some", 0)
        before = threading.active_count()
        async with await slow.open() as file:
            task = await start_read(file)
            assert threading.active_count() == before
            slow.end()
            assert await task == b""

    loop.run_until_complete(main())


def test_what_comes_in_parts_is_put_together(loop, slow):
    async def answer():
        slow.answer(b"0123")
        await slow.until_taken()
        slow.answer(b"456789")

    assert loop.run_until_complete(answered(slow, answer)) == b"0123456789"


def test_fewer_bytes_come_where_the_file_ends(loop, slow):
    async def answer():
        slow.answer(b"0123")
        slow.end()

    assert loop.run_until_complete(answered(slow, answer)) == b"0123"


def test_an_error_is_the_one_that_python_has_with_advice(loop, slow):
    async def main():
        file = await meantime.open_file(slow.path, "rb")
        folder = os.open(slow.path.parent, os.O_RDONLY)
        os.dup2(folder, file.fileno(), inheritable=False)
        os.close(folder)
        with pytest.raises(IsADirectoryError) as caught:
            await file.read_at(10, 0)
        assert "This is a folder" in caught.value.__notes__[0]
        await file.close()

    slow.path.write_bytes(b"")
    loop.run_until_complete(main())


def test_a_cancelled_read_ends_at_once_and_the_file_is_closed_when_the_kernel_is_done(loop, slow):
    async def main():
        file = await slow.open()
        task = await start_read(file)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert under_way(loop) == 1
        closing = asyncio.ensure_future(file.close())
        await some_turns()
        assert not closing.done()
        slow.answer(b"0123456789")
        await closing
        assert file.closed

    loop.run_until_complete(main())
    assert under_way(loop) == 0


def test_many_are_under_way_at_once(loop, slow):
    async def main():
        async with await slow.open() as file:
            tasks = [asyncio.ensure_future(file.read_at(1, 0)) for _ in range(1000)]
            while under_way(loop) < 1000:
                await asyncio.sleep(0)
            for _ in tasks:
                slow.answer(b"x")
            assert await asyncio.gather(*tasks) == [b"x"] * 1000

    loop.run_until_complete(main())
    assert under_way(loop) == 0


def test_closing_the_loop_ends_what_is_under_way(loop, slow):
    async def main():
        file = await slow.open()
        return file, await start_read(file)

    file, task = loop.run_until_complete(main())
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    end(loop)
    assert under_way(loop) == 0
    # Nothing holds the file any more: another loop can close it.
    asyncio.run(file.close())


def test_closing_the_loop_from_another_thread_ends_it_too(loop, slow):
    async def main():
        file = await slow.open()
        return file, await start_read(file)

    file, task = loop.run_until_complete(main())
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_default_executor())
    thread = threading.Thread(target=loop.close)
    thread.start()
    thread.join()
    asyncio.run(file.close())


def test_a_loop_that_goes_on_in_another_thread_takes_what_is_under_way_with_it(loop, slow):
    async def begin():
        file = await slow.open()
        return file, await start_read(file)

    async def finish():
        slow.answer(b"0123456789")
        data = await task
        await file.close()
        return data

    file, task = loop.run_until_complete(begin())
    got = []
    thread = threading.Thread(target=lambda: got.append(loop.run_until_complete(finish())))
    thread.start()
    thread.join()
    assert got == [b"0123456789"]


def test_a_loop_that_is_dropped_while_the_kernel_reads_stays(backend, slow):
    """Its memory is the kernel's still. A program that closes its loops never meets this."""

    async def main():
        file = await slow.open()
        return file, await start_read(file)

    loop = meantime.EventLoop(backend=backend)
    file, task = loop.run_until_complete(main())
    dropped = weakref.ref(loop)
    del loop
    gc.collect()
    loop = dropped()
    assert loop is not None
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    end(loop)
    asyncio.run(file.close())


def test_a_forked_child_closes_the_loop_and_leaves_the_read_to_its_parent(loop, slow):
    async def begin():
        file = await slow.open()
        return file, await start_read(file)

    async def finish():
        slow.answer(b"0123456789")
        assert await task == b"0123456789"
        await file.close()

    file, task = loop.run_until_complete(begin())
    with warnings.catch_warnings():
        # Of other threads: the one that opened the file, and the kernel's own for the ring.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        loop.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert under_way(loop) == 1
    loop.run_until_complete(finish())


# --- Writes ---------------------------------------------------------------------------------------


@pytest.fixture
def full(tmp_path):
    full = FullFile(tmp_path / "full")
    yield full
    full.end()


async def start_write(file, data=b"0123456789"):
    """Have the kernel begin a write. Returns the task that waits for it."""
    task = asyncio.ensure_future(file.write_at(data, 0))
    while not under_way(asyncio.get_running_loop()):
        await asyncio.sleep(0)
    await some_turns()
    assert not task.done()
    return task


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: memoryview(bytearray(data))])
def test_a_write_waits_for_the_disk_and_keeps_what_it_was_given(loop, full, kind):
    async def main():
        file = await full.open()
        data = kind(b"0123456789")
        task = await start_write(file, data)
        if not isinstance(data, bytes):
            data[:] = b"changed..."
        del data
        gc.collect()
        assert not any(full.take())
        assert await task == 10
        assert full.take() == b"0123456789"
        await file.close()

    loop.run_until_complete(main())
    assert under_way(loop) == 0


def test_what_is_taken_in_parts_is_written_to_the_end(loop, full):
    data = os.urandom(20_000)

    async def main():
        file = await full.open()
        task = await start_write(file, data)
        taken = full.take()[full.size :]
        while len(taken) < len(data):
            await asyncio.sleep(0)
            if array.array("i", fcntl.ioctl(full.reader, termios.FIONREAD, b"\0" * 4))[0]:
                taken += full.take()
        assert await task == len(data)
        assert taken == data
        await file.close()

    loop.run_until_complete(main())


def test_a_cancelled_write_is_made_all_the_same_before_the_file_is_closed(loop, full):
    async def main():
        file = await full.open()
        task = await start_write(file)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        closing = asyncio.ensure_future(file.close())
        await some_turns()
        assert not closing.done()
        full.take()
        await closing
        assert full.take() == b"0123456789"

    loop.run_until_complete(main())


def test_a_loop_that_is_closed_lets_a_write_be_made(loop, full):
    async def main():
        file = await full.open()
        return file, await start_write(file)

    file, task = loop.run_until_complete(main())
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    reader = threading.Timer(0.1, full.take)
    reader.start()
    end(loop)
    reader.join()
    assert full.take() == b"0123456789"
    asyncio.run(file.close())


def test_a_loop_that_goes_on_in_another_thread_takes_a_write_with_it(loop, full):
    async def begin():
        file = await full.open()
        return file, await start_write(file)

    async def finish():
        full.take()
        assert await task == 10
        await file.close()
        return full.take()

    file, task = loop.run_until_complete(begin())
    got = []
    thread = threading.Thread(target=lambda: got.append(loop.run_until_complete(finish())))
    thread.start()
    thread.join()
    assert got == [b"0123456789"]


def test_no_thread_is_made_for_small_writes(loop, tmp_path):
    data = os.urandom(50_000)

    async def main():
        async with meantime.open_file(tmp_path / "some", "wb") as file:
            before = threading.active_count()
            parts = range(0, len(data), 5000)
            await asyncio.gather(*[file.write_at(data[at : at + 5000], at) for at in parts])
            assert threading.active_count() == before

    loop.run_until_complete(main())
    assert (tmp_path / "some").read_bytes() == data


def test_what_is_appended_is_there_once(loop, tmp_path):
    async def main():
        async with meantime.open_file(tmp_path / "some", "ab") as file:
            for part in (b"one ", b"two ", b"three"):
                assert await file.write_at(part, 0) == len(part)

    loop.run_until_complete(main())
    assert (tmp_path / "some").read_bytes() == b"one two three"


def test_writes_to_one_file_are_made_in_their_order(loop, full):
    parts = [bytes([65 + number]) * 10 for number in range(20)]

    async def main():
        file = await full.open()
        tasks = []
        for part in parts:
            tasks.append(asyncio.ensure_future(file.write_at(part, 0)))
            while under_way(loop) < len(tasks):
                await asyncio.sleep(0)
        full.take()
        await asyncio.gather(*tasks)
        await file.close()
        assert full.take() == b"".join(parts)

    loop.run_until_complete(main())


def test_a_file_that_takes_nothing_holds_up_no_other(loop, full, tmp_path):
    async def main():
        file = await full.open()
        task = await start_write(file)
        async with meantime.open_file(tmp_path / "other", "wb") as other:
            assert await other.write_at(b"some", 0) == 4
            await other.fsync()
        assert not task.done()
        full.take()
        assert await task == 10
        await file.close()

    loop.run_until_complete(main())


def test_a_write_without_room_is_python_s_error_with_advice(loop, tmp_path):
    async def main():
        file = await meantime.open_file(tmp_path / "some", "wb")
        nowhere = os.open("/dev/full", os.O_WRONLY)
        os.dup2(nowhere, file.fileno(), inheritable=False)
        os.close(nowhere)
        with pytest.raises(OSError, match="No space left") as caught:
            await file.write_at(b"data", 0)
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.__notes__
        await file.close()

    loop.run_until_complete(main())


def test_a_file_for_reading_refuses_a_write(loop, slow):
    async def main():
        async with meantime.open_file(slow.path, "rb") as file:
            with pytest.raises(OSError, match="Bad file descriptor"):
                await file.write_at(b"data", 0)
            with pytest.raises(TypeError):
                await file.write_at("text", 0)
            with pytest.raises(OSError, match="Invalid argument"):
                await file.write_at(b"data", -1)

    loop.run_until_complete(main())


PLACES = [(1, 0), (5000, 4090), (200_000, 150_000), (10, 300_000), (9, 1 << 40)]


def test_bytes_read_past_the_page_cache_are_the_file_s(loop, tmp_path):
    path = tmp_path / "cold"
    data = os.urandom(300_000)

    async def main():
        async with meantime.open_file(path, "rb") as file:
            for size, offset in PLACES:
                forget(file.fileno())
                assert await file.read_at(size, offset) == data[offset : offset + size]

    def forget(fd):
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    path.write_bytes(data)
    loop.run_until_complete(main())


def test_a_whole_file_that_is_not_in_memory_is_read_without_a_thread(loop, tmp_path):
    path = tmp_path / "cold"
    data = os.urandom(100_000)
    path.write_bytes(data)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    async def main():
        before = threading.active_count()
        assert await files.read_bytes(path) == data
        assert threading.active_count() == before

    loop.run_until_complete(main())


def test_a_cancelled_read_of_a_whole_file_leaves_no_descriptor(loop, tmp_path):
    path = tmp_path / "cold"
    path.write_bytes(os.urandom(100_000))

    async def main():
        for turns in range(4):
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            task = asyncio.ensure_future(files.read_bytes(path))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # What is under way then is ended with the loop. The fixtures count the descriptors.
    loop.run_until_complete(main())


@pytest.mark.parametrize("name", ["fsync", "fdatasync"])
def test_a_sync_that_is_cancelled_goes_on_and_the_file_is_closed_after_it(loop, tmp_path, name):
    async def main():
        file = await meantime.open_file(tmp_path / "synced", "wb")
        await file.write(b"data")
        task = asyncio.ensure_future(getattr(file, name)())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await file.close()
        assert file.closed

    loop.run_until_complete(main())
    assert (tmp_path / "synced").read_bytes() == b"data"
    assert under_way(loop) == 0
