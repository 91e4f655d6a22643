"""Temporary files and folders: the names and arguments of the standard library's tempfile."""

from __future__ import annotations

import asyncio
import os
import tempfile
from functools import partial
from typing import TYPE_CHECKING, Any, AnyStr, Generic

from meantime.files.file import Opening
from meantime.files.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

__all__ = [
    "NamedTemporaryFile",
    "SpooledTemporaryFile",
    "TemporaryDirectory",
    "TemporaryFile",
    "gettempdir",
    "mkdtemp",
    "mkstemp",
]


def TemporaryFile(mode: str = "w+b", *arguments: Any, **keywords: Any) -> Opening[Any]:  # noqa: N802
    """Open a file that has no name and is gone once it is closed.

    `await` it, or enter it with `async with`. The arguments are those of tempfile.TemporaryFile.
    """
    return Opening(partial(tempfile.TemporaryFile, mode, *arguments, **keywords))


def NamedTemporaryFile(mode: str = "w+b", *arguments: Any, **keywords: Any) -> Opening[Any]:  # noqa: N802
    """Open a file in the folder for temporary ones, which is removed when it is closed.

    Its path is its `name`. The arguments are those of tempfile.NamedTemporaryFile: with
    `delete=False` it stays.
    """
    return Opening(partial(tempfile.NamedTemporaryFile, mode, *arguments, **keywords))


def SpooledTemporaryFile(  # noqa: N802
    max_size: int = 0, mode: str = "w+b", *arguments: Any, **keywords: Any
) -> Opening[Any]:
    """Open a file that is in memory until it has more than `max_size` bytes.

    The arguments are those of tempfile.SpooledTemporaryFile.
    """
    return Opening(partial(tempfile.SpooledTemporaryFile, max_size, mode, *arguments, **keywords))


class TemporaryDirectory(Generic[AnyStr]):
    """A folder that is removed at the end, with all that is in it.

    Enter it with `async with`, which gives its path, or await `open` and later `cleanup`.
    Cancelling leaves no folder behind. The arguments are those of tempfile.TemporaryDirectory.
    """

    def __init__(
        self,
        suffix: AnyStr | None = None,
        prefix: AnyStr | None = None,
        dir: Any = None,  # noqa: A002 - the standard library's name for it
        **keywords: bool,
    ) -> None:
        self._make: Callable[[], Any] = partial(
            tempfile.TemporaryDirectory, suffix, prefix, dir, **keywords
        )
        self._folder: tempfile.TemporaryDirectory[AnyStr] | None = None

    def __await__(self) -> Generator[Any, Any, TemporaryDirectory[AnyStr]]:
        return self._open().__await__()

    async def _open(self) -> TemporaryDirectory[AnyStr]:
        self._folder = await in_thread(self._make, undo=remove_folder)
        return self

    @property
    def name(self) -> AnyStr:
        """The path of the folder.

        Raises:
            RuntimeError: it has not been made yet.
        """
        if self._folder is None:
            raise RuntimeError(
                "this temporary folder has no name yet, because it has not been made. "
                "Enter it with `async with`, or await it."
            )
        return self._folder.name

    async def cleanup(self) -> None:
        """Remove the folder and all that is in it. May be called again.

        Cancelling ends the wait; the folder is removed all the same.
        """
        if self._folder is not None:
            loop = asyncio.get_running_loop()
            await asyncio.shield(loop.run_in_executor(None, self._folder.cleanup))

    async def __aenter__(self) -> AnyStr:
        await self._open()
        return self.name

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.cleanup()

    def __repr__(self) -> str:
        return f"<TemporaryDirectory {self._folder.name if self._folder else 'not made yet'!r}>"


async def mkstemp(*arguments: Any, **keywords: Any) -> tuple[int, Any]:
    """Make a file, and return its descriptor and path: tempfile.mkstemp."""
    return await in_thread(partial(tempfile.mkstemp, *arguments, **keywords), undo=remove_file)


async def mkdtemp(*arguments: Any, **keywords: Any) -> Any:
    """Make a folder, and return its path: tempfile.mkdtemp."""
    return await in_thread(partial(tempfile.mkdtemp, *arguments, **keywords), undo=os.rmdir)


async def gettempdir() -> str:
    """Return the folder for temporary files: tempfile.gettempdir."""
    return await in_thread(tempfile.gettempdir)


def remove_folder(folder: Any) -> None:
    """Remove a folder that nobody took. This is called in a thread."""
    folder.cleanup()


def remove_file(made: tuple[int, Any]) -> None:
    """Remove a file that nobody took. This is called in a thread."""
    fd, path = made
    os.close(fd)
    os.unlink(path)
