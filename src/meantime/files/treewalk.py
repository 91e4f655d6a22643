"""Folders and all that is in them: walked, copied, moved."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import TYPE_CHECKING

from meantime.files.listing import BATCH_ENTRIES, in_batches

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping

    Folder = tuple[pathlib.Path, list[str], list[str]]


def walk(
    top: pathlib.Path,
    top_down: bool,
    on_error: Callable[[OSError], object] | None,
    follow_symlinks: bool,
) -> AsyncGenerator[Folder, None]:
    """Yield each folder below `top`, as pathlib.Path.walk does on newer Pythons."""
    # Whoever walks top down may change the list of folders, so the walk waits for that.
    entries_max = 1 if top_down else BATCH_ENTRIES
    return in_batches(lambda: walk_plainly(top, top_down, on_error, follow_symlinks), entries_max)


def walk_plainly(
    top: pathlib.Path,
    top_down: bool,
    on_error: Callable[[OSError], object] | None,
    follow_symlinks: bool,
) -> Iterator[Folder]:
    """Walk with os.scandir. Links to folders are files, unless they are followed."""
    # What is left to do: a folder to list, or, going bottom up, one to give after those in it.
    stack: list[str | Folder] = [os.fspath(top)]
    while stack:
        path = stack.pop()
        if not isinstance(path, str):
            yield path
            continue
        folders: list[str] = []
        names: list[str] = []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    (folders if is_folder(entry, follow_symlinks) else names).append(entry.name)
        except OSError as error:
            if on_error is not None:
                on_error(error)
            continue
        folder = (pathlib.Path(path), folders, names)
        if top_down:
            yield folder
        else:
            stack.append(folder)
        stack += [os.path.join(path, name) for name in reversed(folders)]


def is_folder(entry: os.DirEntry[str], follow_symlinks: bool) -> bool:
    """Return whether there is a folder to walk into."""
    try:
        return entry.is_dir(follow_symlinks=follow_symlinks)
    except OSError:
        return False


def copy(source: pathlib.Path, target: os.PathLike[str] | str, options: Mapping[str, bool]) -> str:
    """Copy a file or folder to the path `target`. This is called in a thread."""
    follow = options.get("follow_symlinks", True)
    keep = options.get("preserve_metadata", False)
    unknown = options.keys() - {"follow_symlinks", "preserve_metadata"}
    if unknown:
        raise TypeError(
            f"copy() got an unexpected keyword argument {min(unknown)!r}. "
            "It takes follow_symlinks and preserve_metadata."
        )
    copy_one = shutil.copy2 if keep else shutil.copyfile
    if source.is_dir() and (follow or not source.is_symlink()):
        refuse_inside(source, target)
        return os.fspath(
            shutil.copytree(source, target, symlinks=not follow, copy_function=copy_one)
        )
    if os.path.isdir(target):
        raise IsADirectoryError(
            f"cannot copy {os.fspath(source)!r} to {os.fspath(target)!r}: that is a folder. "
            "Use copy_into() to put the copy in it."
        )
    return os.fspath(copy_one(source, target, follow_symlinks=follow))


def move(source: pathlib.Path, target: os.PathLike[str] | str) -> str:
    """Move a file or folder to the path `target`. This is called in a thread."""
    if os.path.isdir(target) and not os.path.samefile(source, target):
        raise FileExistsError(
            f"cannot move {os.fspath(source)!r} to {os.fspath(target)!r}: a folder is there. "
            "Use move_into() to move it into that folder."
        )
    return os.fspath(shutil.move(source, target))


def refuse_inside(source: pathlib.Path, target: os.PathLike[str] | str) -> None:
    """Refuse to copy a folder into itself, which would never end."""
    if pathlib.Path(os.path.realpath(target)).is_relative_to(os.path.realpath(source)):
        raise OSError(
            f"cannot copy {os.fspath(source)!r} to {os.fspath(target)!r}: that is inside of it. "
            "Choose a target outside of the folder."
        )
