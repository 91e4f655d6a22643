import inspect
import os
import pathlib
import pickle
import sys

import pytest

import meantime
from meantime import Path

PUBLIC = [name for name in dir(pathlib.Path) if not name.startswith("_")]


@pytest.mark.parametrize("name", PUBLIC)
def test_no_name_of_this_pythons_pathlib_is_missing(name):
    plain, ours = getattr(pathlib.Path, name), getattr(Path, name)
    assert callable(ours) == callable(plain)
    assert ours.__doc__


@pytest.mark.parametrize("name", PUBLIC)
def test_what_may_ask_the_disk_is_awaited_and_what_does_not_is_not(name):
    ours = getattr(Path, name)
    if not callable(ours):
        return
    is_pure = hasattr(pathlib.PurePath, name) or name in ("from_uri", "open")
    assert (inspect.iscoroutinefunction(ours) or inspect.isasyncgenfunction(ours)) != is_pure


def test_a_path_is_usable_as_a_path(tmp_path):
    path = Path(tmp_path, "a", "b.tar.gz")
    plain = tmp_path / "a" / "b.tar.gz"
    assert os.fspath(path) == str(path) == str(plain)
    assert bytes(path) == bytes(plain)
    assert path == plain
    assert plain == pathlib.Path(path)
    assert hash(path) == hash(Path(str(plain)))
    assert path == Path(plain)
    assert path != "a"
    assert {path: 1}[Path(plain)] == 1
    assert Path("a") < Path("b") <= pathlib.Path("b")
    assert Path("b") > Path("a") >= pathlib.Path("a")
    assert repr(Path("a/b")) == "Path('a/b')"
    assert pickle.loads(pickle.dumps(path)) == path
    with pytest.raises(TypeError):
        path / 3
    with pytest.raises(TypeError):
        path < 3  # noqa: B015


def test_paths_made_of_a_path_are_ours(tmp_path):
    path = Path("/a/b.tar.gz")
    made = [
        path / "c", "c" / Path("d"), path / pathlib.Path("c"), path.joinpath("c", Path("d")),
        path.with_name("x"), path.with_stem("x"), path.with_suffix(".x"), path.parent,
        path.relative_to("/a"), path.parents[0], path.with_segments("x", "y"),
    ]  # fmt: skip
    assert all(type(one) is Path for one in made)
    assert [str(one) for one in made] == [
        "/a/b.tar.gz/c", "c/d", "/a/b.tar.gz/c", "/a/b.tar.gz/c/d", "/a/x", "/a/x.gz",
        "/a/b.tar.x", "/a", "b.tar.gz", "/a", "x/y",
    ]  # fmt: skip
    assert (path.name, path.stem, path.suffix, path.suffixes) == (
        "b.tar.gz", "b.tar", ".gz", [".tar", ".gz"],
    )  # fmt: skip
    assert (path.parts, path.anchor, path.root, path.drive) == (
        ("/", "a", "b.tar.gz"), "/", "/", "",
    )  # fmt: skip
    assert path.is_absolute()
    assert path.is_relative_to("/a")
    assert path.match("*.gz")
    assert path.as_posix() == "/a/b.tar.gz"
    assert path.as_uri() == "file:///a/b.tar.gz"
    if sys.version_info >= (3, 13):
        assert Path.from_uri("file:///tmp/a") == Path("/tmp/a")
        assert path.full_match("/a/*")


def test_a_subclass_gives_paths_of_its_own_class(run, tmp_path):
    class Own(Path):
        pass

    async def main():
        (tmp_path / "x").touch()
        assert type(Own("a") / "b") is Own
        assert [type(entry) async for entry in Own(tmp_path).iterdir()] == [Own]
        assert type(await Own(tmp_path).resolve()) is Own
        assert type(await Own.cwd()) is Own

    run(main())


def test_questions(run, tmp_path):
    plain = tmp_path / "x"
    plain.write_text("12345")
    (tmp_path / "link").symlink_to(plain)
    os.mkfifo(tmp_path / "fifo")

    async def main():
        path, folder = Path(plain), Path(tmp_path)
        assert await path.exists()
        assert await path.is_file()
        assert not await path.is_dir()
        assert await folder.is_dir()
        assert not await (folder / "missing").exists()
        assert await (folder / "fifo").is_fifo()
        assert await (folder / "link").is_symlink()
        assert await (folder / "link").readlink() == plain
        assert await (folder / "link").resolve() == plain
        assert await (folder / "link").samefile(path)
        assert not await path.is_socket()
        assert not await path.is_block_device()
        assert await Path("/dev/null").is_char_device()
        assert await Path("/").is_mount()
        assert (await path.stat()).st_size == 5
        assert (await (folder / "link").lstat()).st_size == len(str(plain))
        assert (await (folder / "link").stat(follow_symlinks=False)).st_size == len(str(plain))
        assert await path.owner() == plain.owner()
        assert await path.group() == plain.group()
        assert await Path("x").absolute() == pathlib.Path("x").absolute()
        assert await Path("~").expanduser() == await Path.home() == pathlib.Path.home()
        assert await Path.cwd() == pathlib.Path.cwd()

    run(main())


def test_changes(run, tmp_path):
    async def main():
        folder = Path(tmp_path) / "a" / "b"
        await folder.mkdir(parents=True)
        await folder.mkdir(parents=True, exist_ok=True)
        path = folder / "x"
        await path.touch()
        assert await path.write_text("öne\n", encoding="latin-1", newline="\r\n") == 4
        assert await path.read_bytes() == "öne\r\n".encode("latin-1")
        assert await path.read_text("latin-1") == "öne\n"
        assert await path.write_bytes(b"12") == 2
        with pytest.raises(TypeError, match="must be str"):
            await path.write_text(b"12")
        await path.write_atomic("ä")
        assert await path.read_text(encoding="utf-8") == "ä"
        await path.chmod(0o600)
        assert (await path.stat()).st_mode & 0o777 == 0o600
        moved = await path.rename(folder / "y")
        assert moved == folder / "y"
        await moved.replace(path)
        await (folder / "hard").hardlink_to(path)
        assert (await path.stat()).st_nlink == 2
        await (folder / "soft").symlink_to(path)
        await (folder / "soft").unlink()
        await (folder / "soft").unlink(missing_ok=True)
        await folder.rmtree()
        await folder.parent.rmdir()
        assert not await folder.parent.exists()

    run(main())


def test_a_file_is_opened_by_its_path(run, tmp_path):
    async def main():
        path = Path(tmp_path) / "x"
        async with path.open("w") as file:
            await file.write("text")
        async with await path.open("rb", 0) as file:
            assert await file.read() == b"text"

    run(main())


# --- What is in folders ---------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    for name in ("a/1.txt", "a/2.py", "a/b/3.txt", "c/4.txt", "5.txt"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "tree" / "a")
    return tmp_path / "tree"


async def collect(paths):
    found = []
    async for path in paths:
        assert type(path) is Path
        found.append(path)
    return sorted(map(str, found))


def test_listing_is_that_of_pathlib(run, tree):
    async def main():
        path = Path(tree)
        assert await collect(path.iterdir()) == sorted(map(str, tree.iterdir()))
        for pattern in ("*", "*.txt", "*/*.txt", "**/*"):
            assert await collect(path.glob(pattern)) == sorted(map(str, tree.glob(pattern)))
        assert await collect(path.rglob("*.txt")) == sorted(map(str, tree.rglob("*.txt")))
        with pytest.raises(FileNotFoundError):
            await collect((path / "missing").iterdir())

    run(main())


def test_many_entries_come_in_batches_and_none_is_lost(run, tmp_path):
    names = {str(number) for number in range(2_345)}
    for name in names:
        (tmp_path / name).touch()

    async def main():
        assert {entry.name async for entry in Path(tmp_path).iterdir()} == names
        assert {entry.name async for entry in Path(tmp_path).glob("*")} == names

    run(main())


def plain_walk(top, top_down, follow):
    """Walk as pathlib does from Python 3.12 on."""
    for folder, folders, names in os.walk(top, top_down, followlinks=follow):
        links = [] if follow else [n for n in folders if os.path.islink(os.path.join(folder, n))]
        yield folder, sorted(set(folders) - set(links)), sorted(names + links)


@pytest.mark.parametrize("top_down", [True, False])
@pytest.mark.parametrize("follow", [True, False])
def test_walk_gives_each_folder(run, tree, top_down, follow):
    async def main():
        ours = [
            (str(folder), sorted(folders), sorted(names))
            async for folder, folders, names in Path(tree).walk(top_down, follow_symlinks=follow)
        ]
        assert sorted(ours) == sorted(plain_walk(tree, top_down, follow))
        order = [folder for folder, _, _ in ours]
        nested, outer = order.index(str(tree / "a" / "b")), order.index(str(tree / "a"))
        assert (outer < nested) == top_down

    run(main())


def test_what_is_taken_out_of_the_list_is_not_walked(run, tree):
    async def main():
        seen = []
        async for folder, folders, _ in Path(tree).walk():
            seen.append(folder.name)
            folders[:] = [name for name in folders if name != "a"]
        assert seen == ["tree", "c"]

    run(main())


def test_a_walk_tells_errors_to_whom_it_is_told(run, tree):
    errors = []

    async def main():
        assert [step async for step in Path(tree / "missing").walk(on_error=errors.append)] == []
        assert [step async for step in Path(tree / "missing").walk()] == []

    run(main())
    assert [type(error) for error in errors] == [FileNotFoundError]


# --- Copies and moves -----------------------------------------------------------------------------


def test_copy_and_move(run, tree):
    async def main():
        path = Path(tree)
        assert await (path / "5.txt").copy(path / "6.txt") == path / "6.txt"
        assert await (path / "6.txt").read_text() == "5.txt"
        assert await (path / "6.txt").move(path / "7.txt") == path / "7.txt"
        assert not await (path / "6.txt").exists()
        assert await (path / "7.txt").move_into(path / "c") == path / "c" / "7.txt"
        assert await (path / "c" / "7.txt").copy_into(path) == path / "7.txt"
        assert await (path / "a").copy(path / "d") == path / "d"
        assert await (path / "d" / "b" / "3.txt").read_text() == "a/b/3.txt"
        assert await (path / "d").move_into(path / "c") == path / "c" / "d"
        assert await (path / "c" / "d" / "1.txt").exists()
        assert await (path / "link").copy(path / "link2", follow_symlinks=False)
        assert await (path / "link2").is_symlink()

    run(main())


def test_a_copy_replaces_no_folder_and_goes_into_no_folder_of_its_own(run, tree):
    async def main():
        path = Path(tree)
        with pytest.raises(OSError, match=r"folder|[Dd]irectory"):
            await (path / "5.txt").copy(path / "c")
        with pytest.raises(FileExistsError):
            await (path / "a").copy(path / "c")
        with pytest.raises(OSError, match=r"inside|into itself"):
            await (path / "a").copy(path / "a" / "new")
        with pytest.raises(OSError, match=r"folder|exists|[Dd]irectory"):
            await (path / "a").move(path / "c")
        with pytest.raises(ValueError, match="empty name"):
            await Path("/").move_into(path)

    run(main())


def test_path_is_exported():
    assert meantime.Path is Path
    assert meantime.files.Path is Path
