"""Cancelling at every await: no descriptor stays open, no buffer is written, no turn is lost."""

import asyncio
import os
import threading

import pytest

import meantime
from meantime import files


class Gate:
    """Holds a call in its thread until it is let through."""

    def __init__(self):
        self.begun = threading.Event()
        self.open = threading.Event()

    def pass_through(self):
        self.begun.set()
        assert self.open.wait(20)

    async def until_begun(self):
        while not self.begun.is_set():
            await asyncio.sleep(0.001)


def cancelled(task):
    task.cancel()
    return asyncio.gather(task, return_exceptions=True)


def test_a_file_that_is_opened_after_the_cancel_is_closed(run, tmp_path):
    gate = Gate()
    opened = []

    def opener(path, flags):
        gate.pass_through()
        opened.append(os.open(path, flags))
        return opened[0]

    async def main():
        async def use():
            async with meantime.open_file(tmp_path / "x", "wb", opener=opener):
                raise AssertionError("it was entered")

        task = asyncio.ensure_future(use())
        await gate.until_begun()
        assert isinstance((await cancelled(task))[0], asyncio.CancelledError)
        assert opened == []
        gate.open.set()

    run(main())
    # The fixtures end the threads, and count the descriptors.


def test_a_file_that_was_opened_in_the_moment_of_the_cancel_is_closed(run, tmp_path):
    path = tmp_path / "x"
    path.write_text("")

    async def main():
        for turns in range(60):
            task = asyncio.ensure_future(opened(path))
            for _ in range(turns):
                await asyncio.sleep(0)
            await cancelled(task)

    async def opened(path):
        async with meantime.open_file(path) as file:
            await file.read()

    run(main())


class Slow:
    """A file whose reads wait at a gate."""

    closed = False

    def __init__(self, gate):
        self.gate = gate
        self.calls = []

    def read(self, size):
        self.gate.pass_through()
        self.calls.append("read")
        return b"data"

    def readinto(self, buffer):
        self.gate.pass_through()
        buffer[:] = b"!" * len(buffer)
        return len(buffer)

    def write(self, data):
        self.calls.append(data)

    def close(self):
        self.calls.append("close")
        self.closed = True


def test_a_cancelled_read_writes_nothing_into_the_buffer(run):
    gate = Gate()

    async def main():
        file = files.wrap_file(Slow(gate))
        buffer = bytearray(100)
        task = asyncio.ensure_future(file.readinto(buffer))
        await gate.until_begun()
        await cancelled(task)
        buffer.clear()  # which a buffer in use would refuse
        buffer += b"mine"
        gate.open.set()
        await file.close()
        assert buffer == b"mine"

    run(main())


def test_the_next_call_waits_for_the_end_of_a_cancelled_one(run):
    gate = Gate()

    async def main():
        slow = Slow(gate)
        file = files.wrap_file(slow)
        first = asyncio.ensure_future(file.read(1))
        await gate.until_begun()
        second = asyncio.ensure_future(file.write(b"second"))
        third = asyncio.ensure_future(file.write(b"third"))
        await asyncio.sleep(0)
        await cancelled(first)
        await cancelled(second)
        assert slow.calls == []
        gate.open.set()
        await third
        await file.close()
        assert slow.calls == ["read", b"third", "close"]

    run(main())


def test_a_cancelled_close_still_closes(run):
    gate = Gate()

    async def main():
        slow = Slow(gate)
        file = files.wrap_file(slow)
        reading = asyncio.ensure_future(file.read(1))
        await gate.until_begun()
        closing = asyncio.ensure_future(file.close())
        await asyncio.sleep(0)
        await cancelled(closing)
        assert not slow.closed
        gate.open.set()
        assert await reading == b"data"
        await file.close()
        assert slow.calls == ["read", "close"]

    run(main())


def test_a_block_that_is_cancelled_while_it_leaves_closes_its_file(run, tmp_path):
    async def main():
        for turns in range(40):
            task = asyncio.ensure_future(written(tmp_path / "x"))
            for _ in range(turns):
                await asyncio.sleep(0)
            await cancelled(task)

    async def written(path):
        async with meantime.open_file(path, "w") as file:
            await file.write("x" * 10_000)
            await file.flush()

    run(main())


def test_an_atomic_write_that_is_cancelled_leaves_the_old_or_the_new_one(run, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    async def main():
        for turns in range(30):
            task = asyncio.ensure_future(files.write_atomic(path, b"new" * 100_000))
            for _ in range(turns):
                await asyncio.sleep(0)
            await cancelled(task)
            assert path.read_bytes() in (b"old", b"new" * 100_000)

    run(main())


def test_nothing_else_stays_after_a_cancelled_atomic_write(any_loop, tmp_path):
    async def main():
        tasks = [
            asyncio.ensure_future(files.write_atomic(tmp_path / "x", b"y" * 1_000_000))
            for _ in range(5)
        ]
        await asyncio.sleep(0.002)
        for task in tasks:
            await cancelled(task)

    any_loop.run_until_complete(main())
    any_loop.run_until_complete(any_loop.shutdown_default_executor())
    assert {entry.name for entry in tmp_path.iterdir()} <= {"x"}


def test_a_listing_that_is_left_early_closes_its_folder(run, tmp_path):
    for number in range(1200):
        (tmp_path / str(number)).touch()

    async def main():
        async for _ in meantime.Path(tmp_path).glob("*"):
            break
        async for _ in meantime.Path(tmp_path).walk():
            break
        async for _ in meantime.Path(tmp_path).rglob("*"):
            break

    run(main())


@pytest.mark.parametrize("turns", range(8))
def test_a_temporary_folder_is_removed_whenever_it_is_cancelled(any_loop, tmp_path, turns):
    async def used():
        async with files.TemporaryDirectory(dir=tmp_path) as folder:
            await files.write_text(f"{folder}/x", "x")

    async def main():
        task = asyncio.ensure_future(used())
        for _ in range(turns):
            await asyncio.sleep(0)
        await cancelled(task)

    any_loop.run_until_complete(main())
    any_loop.run_until_complete(any_loop.shutdown_default_executor())
    assert list(tmp_path.iterdir()) == []
