import os
import stat
import subprocess
import sys

import pytest

from meantime import files


def test_bytes_and_text_go_out_and_come_back(run, tmp_path):
    path = tmp_path / "x"

    async def main():
        for size in (0, 1, 4096, 70_000, 3_000_000):
            data = os.urandom(size)
            assert await files.write_bytes(path, data) == size
            assert await files.read_bytes(path) == data
        assert await files.write_bytes(path, memoryview(b"view")) == 4
        assert await files.write_text(path, "ä\nb", "utf-16", newline="\r\n") == 3
        assert await files.read_text(path, "utf-16") == "ä\nb"
        assert await files.read_text(path, "utf-16", newline="") == "ä\r\nb"
        assert await files.read_text(path, "ascii", "replace") == path.read_text("ascii", "replace")
        assert await files.read_bytes(os.fsencode(path)) == path.read_bytes()

    run(main())


@pytest.mark.parametrize("newline", [None, "", "\n", "\r", "\r\n"])
@pytest.mark.parametrize(("encoding", "errors"), [("utf-8", None), ("utf-16", "replace")])
@pytest.mark.parametrize("repeats", [1, 20_000])
def test_text_is_what_open_reads(run, tmp_path, newline, encoding, errors, repeats):
    path = tmp_path / "x"
    path.write_bytes("ä\r\nb\rc\nd\r\n".encode(encoding) * repeats)
    with path.open(encoding=encoding, errors=errors, newline=newline) as file:
        expected = file.read()

    async def main():
        assert await files.read_text(path, encoding, errors, newline) == expected

    run(main())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("utf-8",), UnicodeDecodeError),
        (("no such",), LookupError),
        (("utf-8", None, "x"), ValueError),
    ],
)
def test_text_that_cannot_be_read_is_the_error_of_open(run, tmp_path, arguments, error):
    path = tmp_path / "x"
    path.write_bytes(b"\xff\xfe")

    async def main():
        with pytest.raises(error) as ours:
            await files.read_text(path, *arguments)
        with pytest.raises(error) as theirs, path.open("r", -1, *arguments) as file:
            file.read()
        assert str(ours.value) == str(theirs.value)

    run(main())


def test_a_file_that_tells_no_size_is_read_whole(run):
    async def main():
        text = await files.read_text("/proc/self/status")
        assert text.startswith("Name:")
        assert await files.read_bytes("/dev/null") == b""

    run(main())


REPLACING = """
import itertools, pathlib, sys

path, other = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1] + ".other")
for letter, size in itertools.cycle(((b"a", 10), (b"b", 5000), (b"c", 4096))):
    other.write_bytes(letter * size)
    other.replace(path)
"""


def test_a_file_that_is_replaced_meanwhile_is_read_as_the_old_or_the_new_one(run, tmp_path):
    path = tmp_path / "some"
    path.write_bytes(b"a" * 10)
    wanted = {b"a" * 10, b"b" * 5000, b"c" * 4096}

    async def main():
        last, changes = b"", 0
        while changes < 3000:
            data = await files.read_bytes(path)
            assert data in wanted
            changes += data != last
            last = data

    with subprocess.Popen([sys.executable, "-c", REPLACING, path]) as replacing:
        try:
            run(main())
        finally:
            replacing.kill()


def test_an_atomic_write_makes_and_replaces(run, tmp_path):
    path = tmp_path / "x"

    async def main():
        await files.write_atomic(path, "ä")
        assert path.read_bytes() == "ä".encode()
        path.chmod(0o640)
        await files.write_atomic(path, b"two")
        assert path.read_bytes() == b"two"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        await files.write_atomic(path, "ä", encoding="latin-1")
        assert path.read_bytes() == b"\xe4"
        assert list(tmp_path.iterdir()) == [path]

    run(main())


def test_a_new_file_has_the_permissions_of_new_files(run, tmp_path):
    async def main():
        await files.write_atomic(tmp_path / "atomic", b"")
        await files.write_bytes(tmp_path / "plain", b"")

    run(main())
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_atomic_write_keeps_a_link_and_other_names(run, tmp_path):
    target, link, hard = tmp_path / "target", tmp_path / "link", tmp_path / "hard"
    target.write_text("old")
    link.symlink_to(target)
    hard.hardlink_to(target)

    async def main():
        await files.write_atomic(link, "new")

    run(main())
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert hard.read_text() == "old"


def test_an_atomic_write_that_fails_leaves_the_old_file(run, tmp_path):
    path = tmp_path / "x"
    path.write_text("old")

    async def main():
        with pytest.raises(UnicodeEncodeError):
            await files.write_atomic(path, "ä", encoding="ascii")
        with pytest.raises(TypeError):
            await files.write_atomic(path, 3)
        with pytest.raises(FileNotFoundError):
            await files.write_atomic(tmp_path / "missing" / "x", b"")

    run(main())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_longest_name_can_be_written_atomically(run, tmp_path):
    path = tmp_path / ("n" * 255)

    async def main():
        await files.write_atomic(path, b"x")

    run(main())
    assert path.read_bytes() == b"x"


def test_copying_moving_and_removing(run, tmp_path):
    folder = tmp_path / "a"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "x").write_text("x")

    async def main():
        assert await files.copy(folder / "b" / "x", tmp_path / "y") == str(tmp_path / "y")
        assert await files.copy(folder / "b" / "x", folder) == str(folder / "x")
        assert await files.copytree(folder, tmp_path / "c") == str(tmp_path / "c")
        with pytest.raises(FileExistsError):
            await files.copytree(folder, tmp_path / "c")
        assert await files.move(tmp_path / "c", folder) == str(folder / "c")
        await files.rmtree(folder)
        await files.rmtree(folder, ignore_errors=True)
        assert [entry.name for entry in tmp_path.iterdir()] == ["y"]

    run(main())
