"""What is in memory is had at once, what is not is waited for in a thread, nobody is held up."""

import asyncio
import os

import pytest

import meantime
from meantime import files


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"".join(b"line %06d\n" % number for number in range(100_000)))
    return path


def forget_pages(path):
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def has_threads(loop):
    return loop._default_executor is not None


def test_what_is_in_memory_needs_no_thread(run, any_loop, path):
    async def main():
        async with meantime.open_file(path, "rb") as file:
            assert await file.read(9) == b"line 0000"
            assert await file.read_at(12, 12) == b"line 000001\n"
            assert await file.seek(24) == 24
            assert await file.readline() == b"line 000002\n"
            assert await file.tell() == 36
            assert await file.readinto(bytearray(500_000)) == 500_000
        async with meantime.open_file(path) as file:
            assert sum([1 async for _ in file]) == 100_000
        small = path.with_name("small")
        small.write_bytes(b"x" * 5000)
        assert await files.read_bytes(small) == b"x" * 5000
        assert await files.read_text(small) == "x" * 5000
        assert not has_threads(any_loop)

    run(main())


def test_files_in_memory_read_one_after_the_other_let_others_have_their_turn(run, path):
    small = path.with_name("small")
    small.write_bytes(b"x")

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main():
        counting = asyncio.ensure_future(count_turns())
        while turns < 20:
            await files.read_bytes(small)
        counting.cancel()

    turns = 0
    run(asyncio.wait_for(main(), 20))


def test_what_is_not_in_memory_is_read_by_a_thread(run, any_loop, path):
    forget_pages(path)
    expected = path.stat().st_size

    async def main():
        async with meantime.open_file(path, "rb") as file:
            first = await file.read(5000)
            assert has_threads(any_loop)
            forget_pages(path)
            rest = await file.read()
        forget_pages(path)
        assert first + rest == await files.read_bytes(path)
        assert len(first + rest) == expected

    run(main())


def test_tasks_that_share_a_cold_file_get_each_byte_once(run, path):
    expected = path.read_bytes()
    parts = {}

    async def main():
        async with meantime.open_file(path, "rb") as file:

            async def read(number):
                parts[number] = await file.read(1000)
                if number % 50 == 0:
                    forget_pages(path)

            await asyncio.gather(*(read(number) for number in range(1200)))
        assert b"".join(parts[number] for number in range(1200)) == expected

    run(main())


def test_reading_what_is_in_memory_gives_way_to_others(run, path):
    async def main():
        turns = 0

        async def count():
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.ensure_future(count())
        loop = asyncio.get_running_loop()
        async with meantime.open_file(path, "rb") as file:
            give_up_at = loop.time() + 10
            while turns < 20 and loop.time() < give_up_at:
                await file.seek(0)
                await file.read(100_000)
                await file.read_at(1000, 0)
                await file.seek(0)
                async for _ in file:
                    break
        counting.cancel()
        assert turns >= 20

    run(main())


def test_a_call_that_is_cancelled_while_it_gives_way_leaves_the_file_to_others(run, path):
    async def main():
        async with meantime.open_file(path, "rb") as file:
            for _ in range(300):
                task = asyncio.ensure_future(file.read(100))
                other = asyncio.ensure_future(file.read_at(100, 0))
                await asyncio.sleep(0)
                task.cancel()
                other.cancel()
                await asyncio.gather(task, other, return_exceptions=True)
            await file.seek(0)
            assert await file.read(4) == b"line"

    run(main())


def test_others_go_on_while_a_large_file_is_written(run, tmp_path):
    async def main():
        turns = 0

        async def count():
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.ensure_future(count())
        async with meantime.open_file(tmp_path / "large", "wb") as file:
            for _ in range(16):
                before = turns
                await file.write(bytes(1 << 20))
                assert turns > before
            await file.fsync()
        counting.cancel()

    run(main())


def test_whoever_takes_the_file_below_may_move_its_position(run, path):
    async def main():
        async with meantime.open_file(path, "rb") as file:
            await file.seek(0)
            file.wrapped.seek(12)
            forget_pages(path)
            assert await file.read(11) == b"line 000001"

    run(main())


@pytest.mark.parametrize("is_cold", [False, True], ids=["in memory", "cold"])
def test_no_line_is_lost_where_text_was_flushed_between_some_lines(run, tmp_path, is_cold):
    """Python's own position is too far then: it is asked for no more."""
    path = tmp_path / "text"
    expected = [f"this is line {number}\n" for number in range(5000)]
    path.write_text("".join(expected))

    async def main():
        async with meantime.open_file(path) as file:
            lines = await file.readlines(1)
            await file.flush()
            if is_cold:
                forget_pages(path)
            lines += [line async for line in file]
            assert lines == expected
            await file.seek(0)
            next(file.wrapped)
            await file.flush()
            if is_cold:
                forget_pages(path)
            assert [line async for line in file] == expected[1:]

    run(main())


def test_many_syncs_run_side_by_side_and_close_waits_for_them(run, tmp_path):
    async def main():
        file = await meantime.open_file(tmp_path / "x", "w+b")
        await file.write(b"x" * 100)
        syncs = [asyncio.ensure_future(file.fsync()) for _ in range(10)]
        await asyncio.sleep(0)
        await file.close()
        await asyncio.gather(*syncs)
        assert (tmp_path / "x").read_bytes() == b"x" * 100

    run(main())


def test_a_step_of_iteration_may_be_awaited_late_and_by_others(run, path):
    async def main():
        async with meantime.open_file(path, "rb") as file:
            assert await anext(file) == b"line 000000\n"
            steps = [anext(file) for _ in range(3)]
            assert await file.readline() == b"line 000001\n"
            lines = [await asyncio.wait_for(step, 5) for step in steps]
            assert lines == [b"line %06d\n" % number for number in (2, 3, 4)]
            late = anext(file)
            await file.seek(0, os.SEEK_END)
            with pytest.raises(StopAsyncIteration):
                await late

    run(main())


def test_a_file_that_the_cache_cannot_be_asked_for(run):
    async def main():
        async with meantime.open_file("/proc/self/status") as file:
            lines = [line async for line in file]
            await file.seek(0)
            assert (await file.readline()) == lines[0]
        async with meantime.open_file("/proc/self/status", "rb") as file:
            assert (await file.read(5)) == lines[0][:5].encode()
            assert (await file.read_at(5, 0)) == lines[0][:5].encode()

    run(main())


def test_a_file_that_is_dropped_warns_and_is_closed(run, path):
    async def main():
        file = await meantime.open_file(path)
        async for _ in file:
            break
        with pytest.warns(ResourceWarning, match="unclosed file"):
            del file

    run(main())
