import asyncio
import io
import os

import pytest

import meantime
from meantime import files


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "poem.txt"
    path.write_bytes("eins\nzwei\r\ndräi\nvier".encode())
    return path


# --- Ways in --------------------------------------------------------------------------------------


def test_a_file_is_opened_by_await_and_by_async_with(run, path):
    async def main():
        file = await meantime.open_file(path)
        assert await file.read(4) == "eins"
        await file.close()
        async with meantime.open_file(path, "rb") as file:
            assert await file.read(4) == b"eins"
        assert file.closed
        async with await meantime.open_file(path) as file:
            pass
        assert file.closed

    run(main())


def test_aiofiles_programs_change_one_import(run, path):
    from meantime import files as aiofiles

    async def main():
        async with aiofiles.open(path, mode="r", encoding="utf-8") as file:
            assert await file.readable()
            assert await file.seekable()
            assert not await file.isatty()
            assert not await file.writable()
            assert [line async for line in file][:2] == ["eins\n", "zwei\n"]
        assert await aiofiles.os.path.exists(path)
        await aiofiles.os.rename(path, path.with_suffix(".old"))
        async with aiofiles.tempfile.TemporaryDirectory() as folder:
            assert await aiofiles.os.listdir(folder) == []
        assert not await aiofiles.ospath.exists(folder)

    run(main())


def test_a_descriptor_can_be_opened_and_stays_open_where_closefd_is_false(run, path):
    async def main():
        fd = os.open(path, os.O_RDONLY)
        try:
            async with meantime.open_file(fd, "rb", closefd=False) as file:
                assert file.fileno() == fd
                assert await file.read(4) == b"eins"
            assert os.fstat(fd)
        finally:
            os.close(fd)

    run(main())


def test_an_opener_is_used(run, path):
    async def main():
        folder_fd = os.open(path.parent, os.O_RDONLY)
        try:
            async with meantime.open_file(
                path.name, opener=lambda name, flags: os.open(name, flags, dir_fd=folder_fd)
            ) as file:
                assert await file.readline() == "eins\n"
        finally:
            os.close(folder_fd)

    run(main())


def test_a_file_of_another_kind_is_wrapped(run):
    async def main():
        file = files.wrap_file(io.StringIO("one\ntwo\n"))
        assert [line async for line in file] == ["one\n", "two\n"]
        await file.aclose()
        with pytest.raises(ValueError, match="closed file"):
            await file.read()

    run(main())


# --- What it says of itself -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "w", "a", "r+", "rb", "wb", "ab", "r+b", "w+b"])
@pytest.mark.parametrize("buffering", [-1, 0])
def test_properties_are_those_of_a_plain_file(run, path, mode, buffering):
    if buffering == 0 and "b" not in mode:
        pytest.skip("text needs a buffer")

    async def main():
        with path.open(mode, buffering) as plain:
            async with meantime.open_file(path, mode, buffering) as file:
                assert (file.name, file.mode) == (str(path), plain.mode)
                assert file.readable() == plain.readable()
                assert file.writable() == plain.writable()
                assert file.seekable() == plain.seekable()
                assert file.closed is False
                if "b" not in mode:
                    assert file.encoding == plain.encoding
                    assert file.errors == plain.errors
                    assert file.newlines == plain.newlines
                    assert file.line_buffering == plain.line_buffering
                assert "AsyncFile" in repr(file)

    run(main())


# --- Reading and writing --------------------------------------------------------------------------


def test_what_is_written_is_read(run, tmp_path):
    async def main():
        async with meantime.open_file(tmp_path / "new", "w+", encoding="utf-16") as file:
            assert await file.write("ein\n") == 4
            await file.writelines(["zwei\n", "dräi"])
            await file.flush()
            await file.fsync()
            await file.fdatasync()
            await file.seek(0)
            assert await file.readlines() == ["ein\n", "zwei\n", "dräi"]
            assert await file.tell() == 2 + 2 * 13
            assert await file.truncate(2 + 2 * 4) == 10
            assert await file.seek(0, os.SEEK_SET) == 0
            assert await file.read() == "ein\n"

    run(main())


def test_a_large_file_comes_back_whole(run, tmp_path):
    data = os.urandom(3_000_001)

    async def main():
        async with meantime.open_file(tmp_path / "large", "wb") as file:
            assert await file.write(data) == len(data)
        async with meantime.open_file(tmp_path / "large", "rb") as file:
            assert await file.read() == data
            await file.seek(7)
            target = bytearray(2_500_000)
            assert await file.readinto(target) == len(target)
            assert target == data[7:2_500_007]
        async with meantime.open_file(tmp_path / "large", "rb") as file:
            parts = [part async for part in iter_parts(file, 70_001)]
            assert b"".join(parts) == data

    run(main())


async def iter_parts(file, size):
    while part := await file.read(size):
        yield part


def test_writing_through_small_pieces_keeps_them_in_order(run, tmp_path):
    async def main():
        async with meantime.open_file(tmp_path / "many", "w") as file:
            for number in range(20_000):
                await file.write(f"{number}\n")
        async with meantime.open_file(tmp_path / "many") as file:
            count = 0
            async for line in file:
                assert line == f"{count}\n"
                count += 1
            assert count == 20_000

    run(main())


def test_tasks_that_share_a_file_have_their_calls_one_after_the_other(run, tmp_path):
    async def main():
        async with meantime.open_file(tmp_path / "shared", "wb") as file:
            await asyncio.gather(*(file.write(bytes([n]) * 1_000_000) for n in range(10)))
        data = (tmp_path / "shared").read_bytes()
        assert data == b"".join(bytes([n]) * 1_000_000 for n in range(10))

    run(main())


def test_lines_can_be_mixed_with_everything_else(run, tmp_path):
    lines = [f"line {n} ä\n" for n in range(5_000)]
    (tmp_path / "lines").write_text("".join(lines), "utf-8")

    async def main():
        async with meantime.open_file(tmp_path / "lines", encoding="utf-8") as file:
            async for line in file:
                assert line == lines[0]
                break
            assert await file.readline() == lines[1]
            place = await file.tell()
            assert place == len("".join(lines[:2]).encode())
            assert await file.read(3) == "lin"
            assert await file.readline() == lines[2][3:]
            await file.seek(place)
            assert [line async for line in file] == lines[2:]
            assert await file.readline() == ""

    run(main())


# --- At a position of their own -------------------------------------------------------------------


def test_positional_calls_run_side_by_side_and_leave_the_position_alone(run, tmp_path):
    async def main():
        async with meantime.open_file(tmp_path / "blocks", "w+b") as file:
            await asyncio.gather(*(file.write_at(bytes([n]) * 4096, n * 4096) for n in range(64)))
            assert await file.tell() == 0
            blocks = await asyncio.gather(*(file.read_at(4096, n * 4096) for n in range(64)))
            assert blocks == [bytes([n]) * 4096 for n in range(64)]
            assert await file.tell() == 0
            assert await file.read_at(100, 64 * 4096 - 10) == bytes([63]) * 10
            assert await file.read_at(100, 64 * 4096) == b""

    run(main())


def test_positional_calls_refuse_what_pread_refuses(run, path):
    async def main():
        async with meantime.open_file(path, "rb") as file:
            with pytest.raises(OSError, match="Invalid argument"):
                await file.read_at(4, -1)
            with pytest.raises(OSError, match="Bad file descriptor"):
                await file.write_at(b"x", 0)
        with pytest.raises(ValueError, match="closed file") as caught:
            await file.read_at(1, 0)
        assert caught.value.__notes__
        with pytest.raises(ValueError, match="closed file"):
            await file.write_at(b"x", 0)

    run(main())


def test_closing_waits_for_positional_calls(run, tmp_path):
    """Otherwise they would meet a descriptor that may have been given to another file."""

    async def main():
        file = await meantime.open_file(tmp_path / "late", "wb")
        writes = [
            asyncio.ensure_future(file.write_at(b"x" * 500_000, n * 500_000)) for n in range(8)
        ]
        await asyncio.sleep(0)
        await file.close()
        assert all(done.done() for done in writes)
        await asyncio.gather(*writes)
        assert (tmp_path / "late").stat().st_size == 4_000_000

    run(main())


# --- Closing --------------------------------------------------------------------------------------


def test_close_may_be_called_again_and_by_many(run, path):
    async def main():
        file = await meantime.open_file(path)
        await asyncio.gather(file.close(), file.close(), file.close())
        await file.close()
        assert file.closed

    run(main())


def test_a_closed_file_says_so_and_what_to_do(run, path):
    async def main():
        async with meantime.open_file(path, "r+b") as file:
            pass
        for call in (
            file.read, file.readline, file.readlines, file.tell, file.flush, file.truncate,
            lambda: file.write(b"x"), lambda: file.seek(0), lambda: file.readinto(bytearray(3)),
            lambda: file.writelines([b"x"]), lambda: anext(file), file.fsync,
        ):  # fmt: skip
            with pytest.raises(ValueError, match="closed file") as caught:
                await call()
            assert "async with" in caught.value.__notes__[0]

    run(main())


# --- The loop meanwhile ---------------------------------------------------------------------------


def test_the_loop_goes_on_turning_while_much_is_written_and_synced(run, tmp_path):
    """Others have their turn during the writes of 1 MiB, and during the sync.

    Not in each, as a thread may have written before anybody could wait for it.
    """
    turns = []
    chunk = bytes(1 << 20)

    async def take_turns():
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    async def main():
        others = asyncio.ensure_future(take_turns())
        seen = []
        async with meantime.open_file(tmp_path / "large", "wb") as file:
            for _ in range(32):
                await file.write(chunk)
                seen.append(len(turns))
            await file.fsync()
            seen.append(len(turns))
        others.cancel()
        with pytest.raises(asyncio.CancelledError):
            await others
        return seen

    seen = run(main())
    assert len(set(seen)) > 16
    assert (tmp_path / "large").stat().st_size == 32 << 20
