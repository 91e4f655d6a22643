"""Path: pathlib's, with calls that do not block the loop."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any, overload

from meantime.files import treewalk, whole
from meantime.files.file import Opening, open_file
from meantime.files.listing import in_batches
from meantime.files.pure import PurePart
from meantime.files.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from _typeshed import OpenBinaryMode, OpenTextMode, ReadableBuffer


class Path(PurePart):
    """A path, with the methods of `pathlib.Path`. Those that ask the disk are awaited.

    Each is one hop to a thread. When it is cancelled before it has begun, nothing is done; after
    that, it goes on to its end by itself. The errors are pathlib's.

    `iterdir`, `glob`, `rglob` and `walk` are used with `async for`. `copy`, `move` and `walk` are
    here on each version of Python, and `rmtree` too. What a newer pathlib adds is here as well.
    """

    __slots__ = ()

    @classmethod
    async def cwd(cls) -> Path:
        """Return the current folder."""
        return cls(await in_thread(pathlib.Path.cwd))

    @classmethod
    async def home(cls) -> Path:
        """Return the user's home folder."""
        return cls(await in_thread(pathlib.Path.home))

    # ---- what is there

    async def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return what the system knows of it: `os.stat`."""
        return await self._ask("stat", follow_symlinks=follow_symlinks)

    async def lstat(self) -> os.stat_result:
        """Return what the system knows of it, of a symbolic link itself."""
        return await self._ask("lstat")

    async def exists(self, **options: bool) -> bool:
        """Return whether something is there."""
        return await self._ask("exists", **options)

    async def is_file(self, **options: bool) -> bool:
        """Return whether it is a regular file."""
        return await self._ask("is_file", **options)

    async def is_dir(self, **options: bool) -> bool:
        """Return whether it is a folder."""
        return await self._ask("is_dir", **options)

    async def is_symlink(self) -> bool:
        """Return whether it is a symbolic link."""
        return await self._ask("is_symlink")

    async def is_mount(self) -> bool:
        """Return whether a file system is mounted there."""
        return await self._ask("is_mount")

    async def is_socket(self) -> bool:
        """Return whether it is a Unix socket."""
        return await self._ask("is_socket")

    async def is_fifo(self) -> bool:
        """Return whether it is a named pipe."""
        return await self._ask("is_fifo")

    async def is_block_device(self) -> bool:
        """Return whether it is a block device."""
        return await self._ask("is_block_device")

    async def is_char_device(self) -> bool:
        """Return whether it is a character device."""
        return await self._ask("is_char_device")

    async def samefile(self, other_path: str | os.PathLike[str]) -> bool:
        """Return whether both are the same file."""
        return await self._ask("samefile", os.fspath(other_path))

    async def owner(self, **options: bool) -> str:
        """Return the name of the user whose file it is."""
        return await self._ask("owner", **options)

    async def group(self, **options: bool) -> str:
        """Return the name of the group whose file it is."""
        return await self._ask("group", **options)

    async def readlink(self) -> Path:
        """Return what a symbolic link points at."""
        return type(self)(await self._ask("readlink"))

    async def resolve(self, strict: bool = False) -> Path:
        """Return the absolute path without symbolic links."""
        return type(self)(await self._ask("resolve", strict))

    async def absolute(self) -> Path:
        """Return the absolute path, with symbolic links as they are."""
        return type(self)(await self._ask("absolute"))

    async def expanduser(self) -> Path:
        """Return the path with ~ and ~name replaced."""
        return type(self)(await self._ask("expanduser"))

    # ---- what is in it

    async def iterdir(self) -> AsyncGenerator[Path, None]:
        """Yield what is in the folder."""
        async for path in in_batches(self._path.iterdir):
            yield type(self)(path)

    async def glob(self, pattern: str, **options: Any) -> AsyncGenerator[Path, None]:
        """Yield what fits a pattern, as it is found."""
        async for path in in_batches(lambda: self._path.glob(pattern, **options)):
            yield type(self)(path)

    async def rglob(self, pattern: str, **options: Any) -> AsyncGenerator[Path, None]:
        """Yield what fits a pattern, in all folders below too, as it is found."""
        async for path in in_batches(lambda: self._path.rglob(pattern, **options)):
            yield type(self)(path)

    async def walk(
        self,
        top_down: bool = True,
        on_error: Callable[[OSError], object] | None = None,
        follow_symlinks: bool = False,
    ) -> AsyncGenerator[tuple[Path, list[str], list[str]], None]:
        """Yield each folder from here down, with the names of its folders and of its files.

        Going top down, what is taken out of the list of folders is not walked.

        Args:
            top_down: whether a folder comes before those in it.
            on_error: called, in a thread, with the error of a folder that cannot be listed.
            follow_symlinks: whether to walk into folders that symbolic links point at.
        """
        async for folder, folders, names in treewalk.walk(
            self._path, top_down, on_error, follow_symlinks
        ):
            yield type(self)(folder), folders, names

    # ---- whole files

    @overload
    def open(self, mode: OpenBinaryMode, buffering: int = ...) -> Opening[bytes]: ...
    @overload
    def open(
        self,
        mode: OpenTextMode = ...,
        buffering: int = ...,
        encoding: str | None = ...,
        errors: str | None = ...,
        newline: str | None = ...,
    ) -> Opening[str]: ...
    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Opening[Any]:
        """Open it: `await` this, or enter it with `async with`. See `open_file`."""
        return open_file(self._path, mode, buffering, encoding, errors, newline)

    async def read_bytes(self) -> bytes:
        """Return all that is in the file."""
        return await whole.read_bytes(self._path)

    async def read_text(
        self,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> str:
        """Return the text that is in the file."""
        return await whole.read_text(self._path, encoding, errors, newline)

    async def write_bytes(self, data: ReadableBuffer) -> int:
        """Write the file anew, and return how many bytes that is."""
        return await whole.write_bytes(self._path, data)

    async def write_text(
        self,
        data: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> int:
        """Write the file anew, and return how many characters that is."""
        if not isinstance(data, str):
            raise TypeError(
                f"data must be str, not {type(data).__name__}. Write bytes with write_bytes()."
            )
        return await whole.write_text(self._path, data, encoding, errors, newline)

    async def write_atomic(self, data: ReadableBuffer | str, *, encoding: str = "utf-8") -> None:
        """Write the file so that there is always the old one or the new one, each whole."""
        await whole.write_atomic(self._path, data, encoding=encoding)

    # ---- changes

    async def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        """Make an empty file, or set the time of one that is there to now."""
        await self._ask("touch", mode, exist_ok)

    async def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a folder, and with `parents` those above it that are missing."""
        await self._ask("mkdir", mode, parents, exist_ok)

    async def chmod(self, mode: int, *, follow_symlinks: bool = True) -> None:
        """Change the permissions."""
        await self._ask("chmod", mode, follow_symlinks=follow_symlinks)

    async def lchmod(self, mode: int) -> None:
        """Change the permissions of a symbolic link itself, where the system has that."""
        await self._ask("lchmod", mode)

    async def rename(self, target: str | os.PathLike[str]) -> Path:
        """Give it another name. Returns the new path."""
        return type(self)(await self._ask("rename", os.fspath(target)))

    async def replace(self, target: str | os.PathLike[str]) -> Path:
        """Give it another name, in place of what has that name. Returns the new path."""
        return type(self)(await self._ask("replace", os.fspath(target)))

    async def symlink_to(
        self, target: str | os.PathLike[str], target_is_directory: bool = False
    ) -> None:
        """Make it a symbolic link to `target`."""
        await self._ask("symlink_to", os.fspath(target), target_is_directory)

    async def hardlink_to(self, target: str | os.PathLike[str]) -> None:
        """Make it another name of the file `target`."""
        await self._ask("hardlink_to", os.fspath(target))

    async def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file or the symbolic link."""
        await self._ask("unlink", missing_ok)

    async def rmdir(self) -> None:
        """Remove the folder, which must be empty."""
        await self._ask("rmdir")

    async def rmtree(self, *, ignore_errors: bool = False) -> None:
        """Remove the folder and all that is in it."""
        await whole.rmtree(self._path, ignore_errors=ignore_errors)

    async def copy(self, target: str | os.PathLike[str], **options: bool) -> Path:
        """Copy a file, or a folder with all that is in it, to the path `target`.

        Args:
            target: the path of the copy, which is returned. A file there is replaced.
            options: `follow_symlinks` (True) and `preserve_metadata` (False), as pathlib has them.

        Raises:
            FileExistsError: a folder is to be copied to what is there already.
        """
        return type(self)(await in_thread(treewalk.copy, self._path, target, options))

    async def copy_into(self, target_dir: str | os.PathLike[str], **options: bool) -> Path:
        """Copy it into the folder `target_dir`. Returns the path of the copy."""
        return await self.copy(pathlib.Path(target_dir) / self._named(), **options)

    async def move(self, target: str | os.PathLike[str]) -> Path:
        """Move it to the path `target`, which may be on another file system. Returns that path.

        Raises:
            FileExistsError: a folder is to be moved to where something is already.
        """
        return type(self)(await in_thread(treewalk.move, self._path, target))

    async def move_into(self, target_dir: str | os.PathLike[str]) -> Path:
        """Move it into the folder `target_dir`. Returns its new path."""
        return await self.move(pathlib.Path(target_dir) / self._named())

    # ---- how it is done

    async def _ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        return await in_thread(call, getattr(self._path, name), arguments, options)

    def _named(self) -> str:
        if not self._path.name:
            raise ValueError(
                f"{self._path!r} has an empty name, so there is nothing to call it by in another "
                "folder. Use resolve() first, or copy() and move() with a full path."
            )
        return self._path.name


def call(function: Callable[..., Any], arguments: Any, options: Any) -> Any:
    """Call a function. This is called in a thread."""
    return function(*arguments, **options)


def add_what_is_new(names: list[str]) -> None:
    """Give Path those methods of this Python's pathlib that it does not have by itself."""
    for name in names:
        if not name.startswith("_") and not hasattr(Path, name):
            setattr(Path, name, asking(name))


def asking(name: str) -> Any:
    """Return a method that asks pathlib, in a thread."""

    async def method(self: Path, *arguments: Any, **options: Any) -> Any:
        result = await self._ask(name, *arguments, **options)
        return type(self)(result) if isinstance(result, pathlib.PurePath) else result

    method.__name__, method.__qualname__ = name, f"Path.{name}"
    method.__doc__ = getattr(pathlib.Path, name).__doc__
    return method


add_what_is_new(dir(pathlib.Path))
