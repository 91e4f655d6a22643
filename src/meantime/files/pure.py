"""What a path says of itself, without asking the disk."""

from __future__ import annotations

import inspect
import os
import pathlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self


PLAIN = type(pathlib.Path())


class PurePart:
    """The side of Path that needs no waiting: that of pathlib.PurePath."""

    __slots__ = ("__weakref__", "_path")

    def __init__(self, *segments: str | os.PathLike[str]) -> None:
        # Made from pathlib's own in the thousands, when folders are listed.
        is_plain = len(segments) == 1 and type(segments[0]) is PLAIN
        self._path: pathlib.Path = segments[0] if is_plain else pathlib.Path(*segments)  # type: ignore[assignment]

    def __fspath__(self) -> str:
        return self._path.__fspath__()

    def __str__(self) -> str:
        return str(self._path)

    def __bytes__(self) -> bytes:
        return bytes(self._path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path.as_posix()!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self._path),)

    def __hash__(self) -> int:
        return hash(self._path)

    def __eq__(self, other: object) -> bool:
        other_path = plain(other)
        return NotImplemented if other_path is None else self._path == other_path

    def __lt__(self, other: object) -> bool:
        other_path = plain(other)
        return NotImplemented if other_path is None else self._path < other_path

    def __le__(self, other: object) -> bool:
        other_path = plain(other)
        return NotImplemented if other_path is None else self._path <= other_path

    def __gt__(self, other: object) -> bool:
        other_path = plain(other)
        return NotImplemented if other_path is None else self._path > other_path

    def __ge__(self, other: object) -> bool:
        other_path = plain(other)
        return NotImplemented if other_path is None else self._path >= other_path

    def __truediv__(self, other: Any) -> Self:
        if not isinstance(other, (str, os.PathLike)):
            return NotImplemented
        return type(self)(self._path, other)

    def __rtruediv__(self, other: Any) -> Self:
        if not isinstance(other, (str, os.PathLike)):
            return NotImplemented
        return type(self)(other, self._path)

    # ---- its parts

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts between the slashes."""
        return self._path.parts

    @property
    def drive(self) -> str:
        """The drive, on Windows."""
        return self._path.drive

    @property
    def root(self) -> str:
        """The root, if it is absolute."""
        return self._path.root

    @property
    def anchor(self) -> str:
        """The drive and the root."""
        return self._path.anchor

    @property
    def name(self) -> str:
        """The last part."""
        return self._path.name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return self._path.stem

    @property
    def suffix(self) -> str:
        """What comes after the last dot in its name, with the dot."""
        return self._path.suffix

    @property
    def suffixes(self) -> list[str]:
        """Each of its suffixes."""
        return self._path.suffixes

    @property
    def parent(self) -> Self:
        """The path without its last part."""
        return type(self)(self._path.parent)

    @property
    def parents(self) -> Sequence[Self]:
        """The paths above it, the nearest one first."""
        return tuple(type(self)(parent) for parent in self._path.parents)

    # ---- paths made of it

    def joinpath(self, *segments: str | os.PathLike[str]) -> Self:
        """Return this path with others below it."""
        return type(self)(self._path, *segments)

    def with_segments(self, *segments: str | os.PathLike[str]) -> Self:
        """Return a new path of the same class."""
        return type(self)(*segments)

    def with_name(self, name: str) -> Self:
        """Return the path with another last part."""
        return type(self)(self._path.with_name(name))

    def with_stem(self, stem: str) -> Self:
        """Return the path with another stem."""
        return type(self)(self._path.with_stem(stem))

    def with_suffix(self, suffix: str) -> Self:
        """Return the path with another suffix, or with none if it is empty."""
        return type(self)(self._path.with_suffix(suffix))

    def relative_to(self, other: str | os.PathLike[str], *others: Any, **options: bool) -> Self:
        """Return the path as it is seen from another one."""
        return type(self)(self._path.relative_to(other, *others, **options))

    # ---- questions

    def as_posix(self) -> str:
        """Return the path with forward slashes."""
        return self._path.as_posix()

    def as_uri(self) -> str:
        """Return the path as a URI that begins with file:."""
        return self._path.as_uri()

    def is_absolute(self) -> bool:
        """Return whether it begins at the root."""
        return self._path.is_absolute()

    def is_relative_to(self, other: str | os.PathLike[str], *others: Any) -> bool:
        """Return whether it is the other path or below it."""
        return self._path.is_relative_to(other, *others)

    def match(self, pattern: str, **options: Any) -> bool:
        """Return whether it fits a pattern, seen from the right if that is relative."""
        return self._path.match(pattern, **options)


def plain(path: object) -> pathlib.PurePath | None:
    """Return the pathlib path that this stands for, or None if it is something else."""
    if isinstance(path, PurePart):
        return path._path
    return path if isinstance(path, pathlib.PurePath) else None


def add_what_is_new(names: list[str]) -> None:
    """Pass on those names of this Python's PurePath that are not written out above."""
    for name in names:
        if not name.startswith("_") and not hasattr(PurePart, name):
            setattr(PurePart, name, passing_on(name))


def passing_on(name: str) -> Any:
    """Return a method or property that gives pathlib's answer."""
    known = getattr(pathlib.Path, name)
    if inspect.ismethod(known):
        return classmethod(making(name))
    if not callable(known):
        return property(lambda self: getattr(self._path, name), doc=known.__doc__)

    def method(self: PurePart, *arguments: Any, **options: Any) -> Any:
        return getattr(self._path, name)(*arguments, **options)

    method.__name__, method.__qualname__ = name, f"Path.{name}"
    method.__doc__ = known.__doc__
    return method


def making(name: str) -> Any:
    """Return the function of a class method that makes a path as pathlib's does."""

    def make(cls: type[PurePart], *arguments: Any, **options: Any) -> Any:
        return cls(getattr(pathlib.Path, name)(*arguments, **options))

    make.__name__, make.__qualname__ = name, f"Path.{name}"
    make.__doc__ = getattr(pathlib.Path, name).__doc__ or "Make a path as pathlib does."
    return make


# These need no disk, though they are not PurePath's: what a URI says, and a view of the path that
# asks the disk by itself, which blocks.
NOT_PURE_BUT_SURE = [name for name in ("from_uri", "info") if hasattr(pathlib.Path, name)]
add_what_is_new([*dir(pathlib.PurePath), *NOT_PURE_BUT_SURE])
