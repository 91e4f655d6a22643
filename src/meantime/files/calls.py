"""What an open file can be asked, each as one hop to a thread: where there is no compiled core."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, AnyStr, Generic

from meantime.files.advice import advise
from meantime.files.closing import SYNC, SYNC_DATA, Closing, flush_and_sync
from meantime.files.positional import read_all_at, write_all_at
from meantime.files.threads import Job, Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from _typeshed import ReadableBuffer, WriteableBuffer


class Calls(Generic[AnyStr]):
    """The calls of a file that wait. They come one after the other, in the order of their calls.

    Those with a position of their own, `read_at` and `write_at`, come whenever they can.
    """

    _wrapped: Any

    def __init__(self, wrapped: Any, newline: str | None = None) -> None:  # noqa: ARG002
        self._wrapped = wrapped
        self._turns = Turns()
        self._closing: asyncio.Future[None] | None = None
        self._positional = 0
        self._last_positional: asyncio.Future[None] | None = None

    def _lend(self) -> Any:
        return self._wrapped

    def _fileno(self) -> int:
        return int(self._wrapped.fileno())

    # ---- reading

    async def read(self, size: int | None = -1, /) -> AnyStr:
        """Read at most `size` bytes or characters; all that is left if it is negative or None.

        Returns fewer at the end of the file, and nothing when there is no more.
        """
        return await self._call("read", size)

    async def read1(self: Calls[bytes], size: int = -1, /) -> bytes:
        """Read at most `size` bytes with at most one read of the disk."""
        return await self._call("read1", size)

    async def readinto(self: Calls[bytes], buffer: WriteableBuffer, /) -> int:
        """Read into a buffer, and return how many bytes were read: 0 at the end of the file.

        When it is cancelled, nothing is written into the buffer.
        """
        return await self._read_into("readinto", buffer)

    async def readinto1(self: Calls[bytes], buffer: WriteableBuffer, /) -> int:
        """Read into a buffer with at most one read of the disk, and return how many bytes."""
        return await self._read_into("readinto1", buffer)

    async def readline(self, size: int = -1, /) -> AnyStr:
        """Read to the end of the line, which is included, or at most `size` bytes or characters."""
        return await self._call("readline", size)

    async def readlines(self, hint: int = -1, /) -> list[AnyStr]:
        """Read the lines that are left, or whole lines until they have `hint` bytes together."""
        return await self._call("readlines", hint)

    async def peek(self: Calls[bytes], size: int = 0, /) -> bytes:
        """Return bytes that come next, without moving on; how many may differ from `size`."""
        return await self._call("peek", size)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AnyStr:
        line = await self._call("readline")
        if not line:
            raise StopAsyncIteration
        return line

    # ---- writing

    async def write(self, data: ReadableBuffer | AnyStr, /) -> int:
        """Write bytes or text, and return how many bytes or characters that was.

        They are in the file when it is flushed or closed. Until the call has ended, `data` must
        not be changed.
        """
        return await self._call("write", data)

    async def writelines(self, lines: Iterable[ReadableBuffer | AnyStr], /) -> None:
        """Write each item of an iterable. No line ends are added."""
        await self._call("writelines", lines)

    async def flush(self) -> None:
        """Hand to the operating system what is buffered here."""
        await self._call("flush")

    async def fsync(self) -> None:
        """Flush, and wait until the disk has all of it, the file's size and times included."""
        await self._call_function(flush_and_sync, self._wrapped, SYNC)

    async def fdatasync(self) -> None:
        """Flush, and wait until the disk has all that is needed to read it again."""
        await self._call_function(flush_and_sync, self._wrapped, SYNC_DATA)

    # ---- the position

    async def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a position, and return it.

        Args:
            offset: in bytes; in text mode 0, or what `tell` returned.
            whence: `os.SEEK_SET`, from the start, `os.SEEK_CUR` or `os.SEEK_END`.
        """
        return await self._call("seek", offset, whence)

    async def tell(self) -> int:
        """Return the position: in bytes, or in text mode a number that only `seek` understands."""
        return await self._call("tell")

    async def truncate(self, size: int | None = None, /) -> int:
        """Cut or extend the file to `size` bytes, or to the position, and return its new size."""
        return await self._call("truncate", size)

    # ---- at a position of their own

    async def read_at(self, size: int, offset: int) -> bytes:
        """Read at most `size` bytes at `offset`, and leave the position alone.

        Any number of these may run at a time, beside each other and beside everything else. They
        read what is in the file: what `write` has not flushed yet is not.

        Returns fewer bytes at the end of the file only.

        Raises:
            ValueError: the file is closed.
            OSError: it cannot be read, or a number is negative.
        """
        return await self._call_positional(read_all_at, size, offset)

    async def write_at(self, data: ReadableBuffer, offset: int) -> int:
        """Write all of `data` at `offset`, and leave the position alone. Returns its size.

        Any number of these may run at a time. It goes into the file itself, past the buffer of
        `write`. On a file in mode 'a' Linux appends, whatever the offset is.

        Raises:
            ValueError: the file is closed.
            OSError: it cannot be written, or `offset` is negative.
        """
        return await self._call_positional(write_all_at, data, offset)

    # ---- the end

    async def close(self) -> None:
        """Flush and close the file. May be called again.

        What is under way is waited for first. Cancelling ends the wait; the file is closed all the
        same.
        """
        if not self._wrapped.closed:
            if self._closing is None:
                self._closing = Closing(self).begin()
            await asyncio.shield(self._closing)

    # ---- how it is done

    async def _call(self, name: str, *arguments: Any) -> Any:
        try:
            method = getattr(self._wrapped, name)
        except ValueError as error:
            advise(error)
            raise
        return await self._call_function(method, *arguments)

    async def _call_function(self, function: Callable[..., Any], *arguments: Any) -> Any:
        await self._turns.take()
        return await Job(function, arguments, self._turns.give).wait()

    async def _read_into(self, name: str, buffer: Any) -> int:
        # Not into the buffer itself: a read that was cancelled may go on in its thread.
        with memoryview(buffer) as view, view.cast("B") as target:
            if target.readonly:
                raise TypeError(
                    f"{name}() argument must be read-write bytes-like object, not "
                    f"{type(buffer).__name__}. Give it a bytearray."
                )
            read: bytearray = bytearray(len(target))
            count: int | None = await self._call(name, read)
            if count:
                target[:count] = memoryview(read)[:count]
        return count  # type: ignore[return-value]  # None where nothing is ready on a pipe

    async def _call_positional(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._closing is not None or self._wrapped.closed:
            error = ValueError("I/O operation on closed file.")
            advise(error)
            raise error
        fd = self._wrapped.fileno()
        self._positional += 1
        return await Job(function, (fd, *arguments), self._end_positional).wait()

    def _end_positional(self) -> None:
        self._positional -= 1
        waiter = self._last_positional
        if self._positional == 0 and waiter is not None and not waiter.done():
            waiter.set_result(None)
