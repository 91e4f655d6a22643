"""Files that are opened, read and written while the loop does other things."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, AnyStr, Generic, overload

from meantime.files.opening import close_plainly, open_for_us, open_now
from meantime.files.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType
    from typing import Self

    from _typeshed import OpenBinaryMode, OpenTextMode, StrOrBytesPath

    Opener = Callable[[str, int], int]

    # The compiled class has the same methods.
    from meantime.files.calls import Calls
    from meantime.files.direct import adopt
else:
    try:
        from meantime.files.direct import DirectFile as Calls
        from meantime.files.direct import adopt
    except ImportError as error:
        if not (error.name or "").startswith(("meantime._core", "meantime.files")):
            raise
        from meantime.files.calls import Calls

        def adopt(cls: type) -> None:
            """Do nothing: this is for compiled classes."""


class Answer(int):
    """A yes or no, known at once. It may be awaited too, as aiofiles wants it."""

    def __await__(self) -> Generator[Any, None, bool]:
        yield from ()
        return bool(self)

    def __repr__(self) -> str:
        return repr(bool(self))

    __str__ = __repr__


class Face(Generic[AnyStr]):
    """What is asked of an async file without waiting, and the ways into it and out of it."""

    _wrapped: Any

    if TYPE_CHECKING:

        def _lend(self) -> Any: ...
        def _fileno(self) -> int: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()  # type: ignore[attr-defined]

    async def aclose(self) -> None:
        """Close the file: another name for `close`."""
        await self.close()  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._wrapped!r}>"

    # ---- what needs no waiting

    @property
    def wrapped(self) -> IO[AnyStr]:
        """The file that blocks, below this one. Use it while no call is under way only."""
        wrapped: IO[AnyStr] = self._lend()
        return wrapped

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return bool(self._wrapped.closed)

    @property
    def name(self) -> Any:
        """The path or the descriptor that was opened."""
        return self._wrapped.name

    @property
    def mode(self) -> str:
        """The mode it was opened in."""
        return str(self._wrapped.mode)

    @property
    def encoding(self) -> str:
        """The encoding, of a file in text mode."""
        return str(self._wrapped.encoding)

    @property
    def errors(self) -> str | None:
        """What happens to what cannot be decoded or encoded, of a file in text mode."""
        errors: str | None = self._wrapped.errors
        return errors

    @property
    def newlines(self) -> str | tuple[str, ...] | None:
        """The line ends that were read up to now, of a file in text mode."""
        newlines: str | tuple[str, ...] | None = self._wrapped.newlines
        return newlines

    @property
    def line_buffering(self) -> bool:
        """Whether each line is flushed, of a file in text mode."""
        return bool(self._wrapped.line_buffering)

    @property
    def buffer(self) -> Any:
        """The binary file below one in text mode. Its calls block."""
        return self._lend().buffer

    @property
    def raw(self) -> Any:
        """The file without a buffer below a binary one. Its calls block."""
        return self._lend().raw

    def fileno(self) -> int:
        """Return the descriptor."""
        return int(self._fileno())

    def readable(self) -> Answer:
        """Return whether it can be read."""
        return Answer(self._wrapped.readable())

    def writable(self) -> Answer:
        """Return whether it can be written."""
        return Answer(self._wrapped.writable())

    def seekable(self) -> Answer:
        """Return whether it has a position that can be changed."""
        return Answer(self._wrapped.seekable())

    def isatty(self) -> Answer:
        """Return whether it is a terminal."""
        return Answer(self._wrapped.isatty())


class AsyncFile(Face[AnyStr], Calls[AnyStr]):
    """An open file whose calls do not block the event loop. `open_file` makes them.

    Its calls do what the methods of the file that `open` returns do, with the same results, the
    same positions and the same errors. Tasks may share one: the calls come one after the other,
    in the order in which they were made. Only `read_at` and `write_at` run side by side.

    Cancelling a call takes it out of the line. If it has begun in a thread, it goes on to its end
    there: the position is where it has brought it, and what it read is lost.
    """


adopt(AsyncFile)


def wrap_file(file: IO[AnyStr]) -> AsyncFile[AnyStr]:
    """Return an AsyncFile of a file that is open already: of `open`, tempfile or gzip.

    Its calls are made in threads, so it must allow that. Close the AsyncFile, which closes it.
    """
    return AsyncFile(file)


class Opening(Generic[AnyStr]):
    """A file that is about to be opened: `await` it, or enter it with `async with`."""

    def __init__(self, function: Callable[..., IO[AnyStr]], *arguments: Any) -> None:
        self._function: Callable[..., IO[AnyStr]] = function
        self._arguments = arguments
        self._newline = arguments[5] if function is open_for_us else None
        self._file: AsyncFile[AnyStr] | None = None

    def __await__(self) -> Generator[Any, Any, AsyncFile[AnyStr]]:
        return self._open().__await__()

    async def _open(self) -> AsyncFile[AnyStr]:
        if self._function is open_for_us:
            file = open_now(*self._arguments)
            if file is not None:
                return AsyncFile(file, self._newline)
        opened = await in_thread(self._function, *self._arguments, undo=close_plainly)
        return AsyncFile(opened, self._newline)

    async def __aenter__(self) -> AsyncFile[AnyStr]:
        self._file = await self._open()
        return self._file

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._file is not None
        await self._file.close()


@overload
def open_file(
    file: StrOrBytesPath | int,
    mode: OpenBinaryMode,
    buffering: int = ...,
    encoding: None = ...,
    errors: None = ...,
    newline: None = ...,
    closefd: bool = ...,
    opener: Opener | None = ...,
) -> Opening[bytes]: ...
@overload
def open_file(
    file: StrOrBytesPath | int,
    mode: OpenTextMode = ...,
    buffering: int = ...,
    encoding: str | None = ...,
    errors: str | None = ...,
    newline: str | None = ...,
    closefd: bool = ...,
    opener: Opener | None = ...,
) -> Opening[str]: ...
@overload
def open_file(
    file: StrOrBytesPath | int,
    mode: str,
    buffering: int = ...,
    encoding: str | None = ...,
    errors: str | None = ...,
    newline: str | None = ...,
    closefd: bool = ...,
    opener: Opener | None = ...,
) -> Opening[Any]: ...
def open_file(
    file: StrOrBytesPath | int,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Opener | None = None,
) -> Opening[Any]:
    """Open a file, with the arguments of `open`, and without blocking the loop.

    Both `file = await open_file(path)` and `async with open_file(path) as file` do it.

    Cancelling leaves no file open: one that is opened after that is closed at once.

    Args:
        file: a path, or an open descriptor.
        mode: as for `open`: "r", "w", "x", "a", with "b" for bytes and "+" for both ways.
        buffering: as for `open`: the size of the buffer in bytes; 1 for lines, 0 for none.
        encoding: of text; None is the locale's.
        errors: what to do with what cannot be decoded or encoded.
        newline: which line ends are known, and which are written.
        closefd: whether to close the descriptor that was given.
        opener: what opens the file, called in a thread.

    Raises:
        ValueError, TypeError: the mode or another argument is not one of `open`.
        OSError: the file cannot be opened: FileNotFoundError, PermissionError, IsADirectoryError, …
    """
    return Opening(open_for_us, file, mode, buffering, encoding, errors, newline, closefd, opener)
