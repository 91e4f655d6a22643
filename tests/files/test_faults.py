"""Bad input and faults: Python's own error, with a note that says what to do."""

import errno
import os
import subprocess
import sys

import pytest

import meantime
from meantime import files


def raises(run, error, call, note=None, **fields):
    """Check that a call raises the error, with these fields and a note of this content."""

    async def main():
        with pytest.raises(error) as caught:
            await call()
        assert type(caught.value) is error
        for name, value in fields.items():
            assert getattr(caught.value, name) == value
        if note is not None:
            assert note in "\n".join(caught.value.__notes__)

    run(main())


async def opened(*arguments):
    async with meantime.open_file(*arguments):
        pass


def test_a_file_that_is_missing(run, tmp_path):
    path = str(tmp_path / "missing")
    note = "Nothing has this name"
    raises(run, FileNotFoundError, lambda: opened(path), note, filename=path, errno=errno.ENOENT)
    raises(run, FileNotFoundError, lambda: files.read_bytes(path), note, filename=path)
    raises(run, FileNotFoundError, lambda: files.read_text(path), note, filename=path)
    raises(run, FileNotFoundError, lambda: meantime.Path(path).stat(), note, filename=path)
    raises(run, FileNotFoundError, lambda: meantime.Path(path).unlink(), note, filename=path)
    raises(run, FileNotFoundError, lambda: files.rmtree(path), note)
    raises(run, FileNotFoundError, lambda: files.write_atomic(path + "/x", b""), note)


def test_a_folder_is_no_file(run, tmp_path):
    note = "This is a folder"
    raises(run, IsADirectoryError, lambda: opened(tmp_path), note)
    raises(run, IsADirectoryError, lambda: files.read_bytes(tmp_path), note)
    raises(run, IsADirectoryError, lambda: files.write_bytes(tmp_path, b"x"), note)
    raises(run, IsADirectoryError, lambda: files.write_atomic(tmp_path, b"x"), note)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(run, tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    raises(run, NotADirectoryError, lambda: files.read_bytes(path / "x"), "no folder")
    raises(run, NotADirectoryError, lambda: files.rmtree(path), "no folder")


def test_what_is_there_is_not_made_again(run, tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    raises(run, FileExistsError, lambda: opened(path, "x"), "already")
    raises(run, FileExistsError, lambda: meantime.Path(tmp_path).mkdir(), "already")
    raises(run, OSError, lambda: meantime.Path(tmp_path).rmdir(), "rmtree", errno=errno.ENOTEMPTY)


@pytest.mark.parametrize("mode", ["", "q", "rw", "rbt", "w+a", "U", "r+r"])
def test_an_invalid_mode_is_refused_as_by_open(run, tmp_path, mode):
    with pytest.raises(ValueError, match="mode") as plain:
        open(tmp_path / "x", mode)  # noqa: SIM115

    async def main():
        with pytest.raises(ValueError, match="mode") as ours:
            await opened(tmp_path / "x", mode)
        assert str(ours.value) == str(plain.value)

    run(main())


@pytest.mark.parametrize(
    "arguments",
    [("rb", -1, "utf-8"), ("rb", -1, None, "strict"), ("r", 0), ("rb", -1, None, None, "\n"),
     ("r", -1, "no such encoding"), ("r", -1, "utf-8", "strict", "x"), ("w", "1")],
)  # fmt: skip
def test_invalid_arguments_are_refused_as_by_open(run, tmp_path, arguments):
    (tmp_path / "x").write_text("")
    with pytest.raises((ValueError, TypeError, LookupError)) as plain:
        open(tmp_path / "x", *arguments)  # noqa: SIM115
    raises(run, type(plain.value), lambda: opened(tmp_path / "x", *arguments))


def test_what_is_no_path(run):
    raises(run, TypeError, lambda: opened(3.5))
    raises(run, ValueError, lambda: opened("a\0b"))
    raises(run, OSError, lambda: opened(10_000), errno=errno.EBADF)


def test_a_path_with_surrogates_names_its_bytes(run, tmp_path):
    path = str(tmp_path) + "/" + os.fsdecode(b"\xff\xfe name")

    async def main():
        await files.write_text(path, "here")
        assert await files.read_text(path) == "here"
        async with meantime.open_file(path) as file:
            assert await file.read() == "here"
        assert [entry.name async for entry in meantime.Path(tmp_path).iterdir()] == [path[-7:]]

    run(main())
    raises(run, UnicodeEncodeError, lambda: opened(str(tmp_path) + "/\ud800"))


def test_reading_what_is_open_for_writing_says_which_mode_to_use(run, tmp_path):
    async def read():
        async with meantime.open_file(tmp_path / "x", "w") as file:
            await file.read()

    async def write():
        async with meantime.open_file(tmp_path / "x", "rb") as file:
            await file.write(b"x")

    from io import UnsupportedOperation

    raises(run, UnsupportedOperation, read, "another mode")
    raises(run, UnsupportedOperation, write, "another mode")


def test_bytes_that_are_no_text(run, tmp_path):
    path = tmp_path / "latin"
    path.write_bytes("ein\nä\n".encode("latin-1"))

    async def lines():
        async with meantime.open_file(path, encoding="utf-8") as file:
            return [line async for line in file]

    raises(run, UnicodeDecodeError, lines, "encoding")
    raises(run, UnicodeDecodeError, lambda: files.read_text(path, "utf-8"), "encoding")


def test_text_that_the_encoding_lacks(run, tmp_path):
    async def write():
        async with meantime.open_file(tmp_path / "x", "w", encoding="ascii") as file:
            await file.write("ä")

    raises(run, UnicodeEncodeError, write, "utf-8")
    raises(run, UnicodeEncodeError, lambda: files.write_text(tmp_path / "x", "ä", "ascii"), "utf-8")


def test_the_wrong_type_is_refused(run, tmp_path):
    async def text_into_bytes():
        async with meantime.open_file(tmp_path / "x", "wb") as file:
            await file.write("text")

    async def bytes_into_text():
        async with meantime.open_file(tmp_path / "x", "w") as file:
            await file.write(b"bytes")

    async def into_what_cannot_change():
        async with meantime.open_file(tmp_path / "x", "w+b") as file:
            await file.readinto(b"fixed")

    for wrong in (text_into_bytes, bytes_into_text, into_what_cannot_change):
        raises(run, TypeError, wrong)


# --- A full disk ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_full_device_is_told_when_open_tells_it(run, size):
    with open("/dev/full", "wb") as plain:
        calls = (lambda: plain.write(b"x" * size), plain.flush, plain.close)
        told = [is_full(call) for call in calls]

    async def main():
        file = await meantime.open_file("/dev/full", "wb")
        calls = (lambda: file.write(b"x" * size), file.flush, file.close)
        for call, is_told in zip(calls, told, strict=True):
            if not is_told:
                await call()
                continue
            with pytest.raises(OSError, match="No space left") as caught:
                await call()
            assert "Make room" in caught.value.__notes__[0]
        assert any(told)
        assert file.closed
        await file.close()

    run(main())


def is_full(call):
    try:
        call()
    except OSError:
        return True
    return False


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_leaves_what_was_written_before(run, small_disk):
    async def main():
        path = small_disk / "big"
        with pytest.raises(OSError, match="No space left"):
            await fill(path)
        assert 900_000 < path.stat().st_size <= 1_048_576
        assert set(path.read_bytes()) == set(b"y")
        path.unlink()
        await files.write_atomic(path, b"old")
        with pytest.raises(OSError, match="No space left"):
            await files.write_atomic(path, b"new" * 1_000_000)
        assert path.read_bytes() == b"old"
        assert list(small_disk.iterdir()) == [path]

    run(main())


async def fill(path):
    async with meantime.open_file(path, "wb") as file:
        for _ in range(5_000):
            await file.write(b"y" * 1000)


def test_when_there_is_room_again_nothing_is_lost_or_there_twice(loop, small_disk):
    lines = [b"line %d\n" % number for number in range(70_000)]
    in_the_way = small_disk / "other"
    in_the_way.write_bytes(bytes(500_000))
    refusals = []

    async def main():
        async with meantime.open_file(small_disk / "lines", "wb", 5000) as file:
            for line in lines:
                try:
                    await file.write(line)
                except OSError as error:
                    refusals.append(error.errno)
                    in_the_way.unlink()
                    await file.write(line)

    loop.run_until_complete(main())
    assert refusals == [errno.ENOSPC]
    assert (small_disk / "lines").read_bytes() == b"".join(lines)


# --- Permissions ----------------------------------------------------------------------------------

AS_NOBODY = """
import os, sys
import asyncio, meantime
from meantime import files

async def main(path):
    # Not before: nobody may not be allowed to read Python's own files.
    await files.ospath.exists(path)
    os.setgid(65534); os.setuid(65534)
    for call in (lambda: files.read_bytes(path), lambda: meantime.Path(path).write_text("x"),
                 lambda: files.write_atomic(path, "x"), lambda: opened(path)):
        try:
            await call()
        except PermissionError as error:
            assert "permissions" in error.__notes__[0], error.__notes__
        else:
            raise AssertionError("it was allowed")
    print("refused")

async def opened(path):
    async with meantime.open_file(path, "r+"):
        pass

meantime.run(main(sys.argv[1]))
"""


def test_permissions_are_refused_with_advice(tmp_path):
    """In a process of its own, which may be nobody: a privileged user may do everything."""
    if os.geteuid() != 0:
        pytest.skip("only a privileged user can become nobody")
    path = tmp_path / "secret"
    path.write_text("secret")
    path.chmod(0o600)
    ended = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(path)], capture_output=True, text=True
    )
    assert (ended.stdout, ended.returncode) == ("refused\n", 0), ended.stderr
    assert path.read_text() == "secret"
