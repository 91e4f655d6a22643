"""Whole operations on files and folders, each in one hop to a thread."""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import shutil
import stat
import sys
from pathlib import Path as PlainPath
from typing import TYPE_CHECKING, Any

from meantime.files import memory
from meantime.files.advice import advise
from meantime.files.threads import in_thread

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrOrBytesPath, StrPath

# What one loop of attempts at a free name may cost. Two in a row are next to impossible.
NAMES_TRIED_MAX = 100
# More text than that is decoded in a thread.
TEXT_BYTES_MAX = 1 << 17


async def read_bytes(path: StrOrBytesPath | int) -> bytes:
    """Return all that is in a file.

    Raises:
        OSError: it cannot be opened or read: FileNotFoundError, PermissionError, …
    """
    if memory.is_time_to_give_way():
        await asyncio.sleep(0)
    data = memory.read_whole_now(path)
    if not isinstance(data, bytes):
        data = await waited_for(data)
        if data is None:
            return await in_thread(read_whole, path, "rb")
    return data


async def read_text(
    path: StrOrBytesPath | int,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> str:
    """Return the text that is in a file. The arguments are those of `open`.

    Raises:
        OSError: it cannot be opened or read.
        UnicodeDecodeError: it is not text in this encoding.
    """
    # It is `open` that warns, if asked to, where no encoding is given.
    must_warn = encoding is None and sys.flags.warn_default_encoding
    if memory.is_time_to_give_way():
        await asyncio.sleep(0)
    data = None if must_warn else memory.read_whole_now(path)
    if not isinstance(data, bytes):
        data = await waited_for(data)
        if data is None:
            return await in_thread(read_whole, path, "r", encoding, errors, newline)
    if len(data) > TEXT_BYTES_MAX:
        return await in_thread(decode, data, encoding, errors, newline)
    try:
        return decode(data, encoding, errors, newline)
    except BaseException as error:
        advise(error)
        raise


async def write_bytes(path: StrOrBytesPath | int, data: ReadableBuffer) -> int:
    """Write a file anew, and return how many bytes that is.

    When it is cancelled after it has begun, the file is written all the same.

    Raises:
        OSError: it cannot be opened or written.
    """
    return await in_thread(write_whole, path, "wb", data)


async def write_text(
    path: StrOrBytesPath | int,
    text: str,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> int:
    """Write a file anew, and return how many characters that is.

    When it is cancelled after it has begun, the file is written all the same.

    Raises:
        OSError: it cannot be opened or written.
        UnicodeEncodeError: the encoding has no bytes for this text.
    """
    return await in_thread(write_whole, path, "w", text, encoding, errors, newline)


async def write_atomic(
    path: StrPath, data: ReadableBuffer | str, *, encoding: str = "utf-8"
) -> None:
    """Write a file so that there is always the old one or the new one, each whole.

    The data goes to a new file in the same folder, to the disk, and then takes the name of the old
    file, whose permissions it gets. The folder goes to the disk too: when the call has returned, a
    power cut does not bring the old file back. A symbolic link stays, what it points at is
    replaced. Other names (hard links) of the old file keep the old data.

    When it is cancelled or fails, the old file is there, or, if it was cancelled after it had
    begun, perhaps the new one. No other file is left behind.

    Args:
        path: the file. It need not be there yet; its folder must.
        data: bytes, or text.
        encoding: what text is encoded in.

    Raises:
        OSError: the new file cannot be made or written, or the name is that of a folder.
        UnicodeEncodeError: the encoding has no bytes for this text.
    """
    await in_thread(replace_whole, path, data, encoding)


async def copy(source: StrPath, target: StrPath, *, follow_symlinks: bool = True) -> str:
    """Copy a file with its permissions and times, and return the path of the copy.

    Args:
        source: a file.
        target: a path for the copy, or a folder to put it in.
        follow_symlinks: whether to copy what a symbolic link points at, not the link itself.

    Raises:
        OSError: something cannot be read or written.
        shutil.SameFileError: both are one file.
    """
    return os.fspath(await in_thread(copy_file, source, target, follow_symlinks))


async def copytree(
    source: StrPath, target: StrPath, *, symlinks: bool = False, dirs_exist_ok: bool = False
) -> str:
    """Copy a folder and all that is in it, and return the path of the copy.

    Args:
        source: a folder.
        target: a path for the copy.
        symlinks: whether to copy symbolic links as links.
        dirs_exist_ok: whether `target` may be a folder that is there already.

    Raises:
        FileExistsError: `target` is there already.
        shutil.Error: some of it could not be copied. It says which, and the rest is copied.
    """
    return os.fspath(await in_thread(copy_tree, source, target, symlinks, dirs_exist_ok))


async def move(source: StrPath, target: StrPath) -> str:
    """Move a file or a folder, to another file system too, and return its new path.

    Args:
        source: what to move.
        target: its new path, or a folder to put it in.

    Raises:
        OSError: something cannot be read, written or removed.
        shutil.Error: there is something of that name in the folder `target` already.
    """
    return os.fspath(await in_thread(shutil.move, source, target))


async def rmtree(path: StrOrBytesPath, *, ignore_errors: bool = False) -> None:
    """Remove a folder and all that is in it. Symbolic links are removed, not followed.

    When it is cancelled after it has begun, it goes on to its end.

    Args:
        path: the folder.
        ignore_errors: whether to go on where something cannot be removed.

    Raises:
        OSError: something cannot be removed, or this is no folder.
    """
    await in_thread(shutil.rmtree, path, ignore_errors)


async def waited_for(reading: asyncio.Future[bytes] | None) -> bytes | None:
    """Return what is read without a thread of Python's, or None where nobody reads.

    What goes wrong is left to a thread, which tells it in Python's own words.
    """
    if reading is None:
        return None
    try:
        return await reading
    except OSError:
        return None


def decode(data: bytes, encoding: str | None, errors: str | None, newline: str | None) -> str:
    """Return bytes of a file as the text that `open` would read."""
    with io.TextIOWrapper(io.BytesIO(data), encoding, errors, newline) as text:
        return text.read()


# ---- what is called in the threads


def read_whole(path: Any, mode: str, *text: Any) -> Any:
    """Open, read and close a file."""
    with open(path, mode, -1, *text) as file:
        return file.read()


def write_whole(path: Any, mode: str, data: Any, *text: Any) -> int:
    """Open, write and close a file."""
    with open(path, mode, -1, *text) as file:
        return file.write(data)


def copy_file(source: Any, target: Any, follow_symlinks: bool) -> Any:
    """Copy a file with what the system knows of it."""
    return shutil.copy2(source, target, follow_symlinks=follow_symlinks)


def copy_tree(source: Any, target: Any, symlinks: bool, dirs_exist_ok: bool) -> Any:
    """Copy a folder and what is in it."""
    return shutil.copytree(source, target, symlinks=symlinks, dirs_exist_ok=dirs_exist_ok)


def replace_whole(path: StrPath, data: Any, encoding: str) -> None:
    """Write a new file beside the old one, and give it the old one's name."""
    source = data.encode(encoding) if isinstance(data, str) else data
    # The file that a link points at is what is replaced.
    target = PlainPath(os.path.realpath(path))
    new, fd = open_beside(target)
    try:
        with os.fdopen(fd, "wb", 0) as file:
            write_fully(file.fileno(), source)
            keep_permissions(target, file.fileno())
            os.fsync(file.fileno())
        new.replace(target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def open_beside(target: PlainPath) -> tuple[PlainPath, int]:
    """Make a file of a new name in the folder of `target`. Returns its path and descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    for _ in range(NAMES_TRIED_MAX):
        # A long name of the target's must not make the new one too long.
        new = target.with_name(f".{target.name[:32]}.{secrets.token_hex(8)}.new")
        try:
            return new, os.open(new, flags, 0o666)
        except FileExistsError:
            pass
    raise FileExistsError(
        f"no free name was found in {target.parent} after {NAMES_TRIED_MAX} attempts. "
        "Remove the files there whose names end in .new."
    )


def write_fully(fd: int, data: Any) -> None:
    """Write all of `data`, in as many parts as the system takes it."""
    with memoryview(data) as view, view.cast("B") as source:
        written = 0
        while written < len(source):
            written += os.write(fd, source[written:])


def keep_permissions(old: PlainPath, fd: int) -> None:
    """Give an open file the permissions of the file that it takes the place of, if there is one."""
    try:
        mode = stat.S_IMODE(old.stat().st_mode)
    except FileNotFoundError:
        return  # those of a new file are right
    if hasattr(os, "fchmod"):
        os.fchmod(fd, mode)


def sync_folder(folder: PlainPath) -> None:
    """Bring the names in a folder to the disk."""
    if not hasattr(os, "O_DIRECTORY"):
        return  # this system has no way to open a folder
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
