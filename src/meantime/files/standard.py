"""Standard input, output and error as async streams.

They look into sys each time, because a program may put other files there meanwhile. Input from a
pipe or terminal is waited for by the loop, so that no thread is stuck in a read that may never end.
"""

from __future__ import annotations

import asyncio
import codecs
import io
import os
import sys
from typing import TYPE_CHECKING, Any, AnyStr, Generic

from meantime.files.calls import Calls
from meantime.files.file import Answer, Face
from meantime.files.threads import Job, Turns

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK_BYTES = 64 * 1024


class StandardInput(Generic[AnyStr]):
    """What comes in on a descriptor, read as bytes or text. The descriptor stays as it is.

    Cancelling loses nothing: what arrives later is there for the next call.

    Do not mix it with `input()` and `sys.stdin`, which keep in a buffer of their own what they
    have read ahead.
    """

    def __init__(self, empty: AnyStr, newline: AnyStr, source: Callable[[], Any]) -> None:
        self._is_text = isinstance(empty, str)
        # Any: checkers cannot see that what is joined is of one kind.
        self._empty: Any = empty
        self._newline: AnyStr = newline
        self._source = source
        self._data: AnyStr = empty
        self._at = 0
        # What came after `_data`, not joined yet: a long wait for a line's end costs no copies.
        self._more: list[AnyStr] = []
        self._fills = 0
        self._turns = Turns()
        self._decoder: Any = None

    # ---- reading

    async def read(self, size: int | None = -1, /) -> AnyStr:
        """Read `size` bytes or characters; all until the end if it is negative or None."""
        is_over = False
        while not is_over and (size is None or size < 0 or self._waiting() < size):
            is_over = not await self._fill()
        return self._take(self._waiting() if size is None or size < 0 else size)

    async def read1(self, size: int = -1, /) -> AnyStr:
        """Read what is there, at least one and at most `size` bytes or characters."""
        if self._waiting() == 0 and size != 0:
            await self._fill()
        return self._take(self._waiting() if size < 0 else size)

    async def readline(self, size: int = -1, /) -> AnyStr:
        """Read to the end of the line, which is included, or at most `size`."""
        end = self._find_newline(0)
        is_over = False
        while end == 0 and not is_over and (size < 0 or self._waiting() < size):
            searched = self._waiting()
            is_over = not await self._fill()
            end = self._find_newline(searched)
        if end == 0:
            end = self._waiting()
        return self._take(end if size < 0 else min(end, size))

    async def readlines(self, hint: int = -1, /) -> list[AnyStr]:
        """Read all lines until the end, or until they have `hint` bytes together."""
        lines: list[AnyStr] = []
        total = 0
        while line := await self.readline():
            lines.append(line)
            total += len(line)
            if 0 < hint <= total:
                break
        return lines

    async def readinto(self: StandardInput[bytes], buffer: Any, /) -> int:
        """Read into a buffer until it is full or the input ends. Returns how many bytes."""
        with memoryview(buffer) as view, view.cast("B") as target:
            data = await self.read(len(target))
            target[: len(data)] = data
            return len(data)

    def __aiter__(self) -> StandardInput[AnyStr]:
        return self

    async def __anext__(self) -> AnyStr:
        if line := await self.readline():
            return line
        raise StopAsyncIteration

    # ---- what needs no waiting

    def fileno(self) -> int:
        """Return the descriptor."""
        return int(self._source().fileno())

    def isatty(self) -> Answer:
        """Return whether it is a terminal."""
        return Answer(self._source().isatty())

    def readable(self) -> Answer:
        """Return True."""
        return Answer(True)

    def writable(self) -> Answer:
        """Return False."""
        return Answer(False)

    def seekable(self) -> Answer:
        """Return False: what has been read is gone."""
        return Answer(False)

    # ---- how it is done

    def _waiting(self) -> int:
        """Return how much has come in and was not read."""
        return len(self._data) - self._at + sum(map(len, self._more))

    def _find_newline(self, start: int) -> int:
        """Return where the first line ends, looking from `start`, or 0 when that is not there."""
        self._join()
        found = self._data.find(self._newline, self._at + start)
        return 0 if found < 0 else found + 1 - self._at

    def _join(self) -> None:
        if self._more:
            self._data = self._empty.join((self._data[self._at :], self._empty.join(self._more)))
            self._at = 0
            self._more.clear()

    def _take(self, size: int) -> AnyStr:
        self._join()
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        return taken

    async def _fill(self) -> bool:
        """Wait for more. Returns whether there may be any: False at the end of the input."""
        fills = self._fills
        await self._turns.take()
        if self._fills != fills:
            # Somebody else, who was before us in the line, was given some.
            self._turns.give()
            return True
        source = self._source()
        try:
            read, may_wait = reader_of(source)
            if may_wait:
                await wait_readable(source.fileno())
        except BaseException:
            self._turns.give()
            raise
        chunk = await Job(read, (), self._turns.give, self._keep).wait()
        self._keep(chunk)
        return bool(chunk)

    def _keep(self, chunk: Any) -> None:
        """Add what was read, by a thread also when nobody waits for it any more."""
        if self._is_text and isinstance(chunk, bytes):
            chunk = self._decode(chunk)
        if chunk:
            self._more.append(chunk)
        self._fills += 1

    def _decode(self, chunk: bytes) -> str:
        if self._decoder is None:
            source = self._source()
            decoder = codecs.getincrementaldecoder(source.encoding)(source.errors)
            self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        return str(self._decoder.decode(chunk, final=not chunk))


def reader_of(source: Any) -> tuple[Callable[[], Any], bool]:
    """Return what reads the next chunk, and whether the loop may be able to wait for it."""
    try:
        fd = source.fileno()
    except (AttributeError, OSError):
        # A stand-in that a program put into sys, as StringIO.
        return lambda: source.read(CHUNK_BYTES), False
    return lambda: os.read(fd, CHUNK_BYTES), True


async def wait_readable(fd: int) -> None:
    """Wait until a descriptor can be read, if it is one that a loop can wait for."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    try:
        loop.add_reader(fd, set_done, ready)
    except (OSError, ValueError, NotImplementedError):
        return  # a regular file is always ready, and some loops wait for sockets only
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def set_done(future: asyncio.Future[None]) -> None:
    """Wake whoever waits."""
    if not future.done():
        future.set_result(None)


class StandardOutput(Face[AnyStr], Calls[AnyStr]):
    """What goes out by one of the files in sys. Each call is made in a thread."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find
        super().__init__(None)

    @property
    def _wrapped(self) -> Any:
        return self._find()

    @_wrapped.setter
    def _wrapped(self, nothing: None) -> None:
        pass

    def __repr__(self) -> str:
        return f"<StandardOutput to {self._wrapped!r}>"


stdin = StandardInput("", "\n", lambda: sys.stdin)
stdin_bytes = StandardInput(b"", b"\n", lambda: sys.stdin.buffer)
stdout: StandardOutput[str] = StandardOutput(lambda: sys.stdout)
stderr: StandardOutput[str] = StandardOutput(lambda: sys.stderr)
stdout_bytes: StandardOutput[bytes] = StandardOutput(lambda: sys.stdout.buffer)
stderr_bytes: StandardOutput[bytes] = StandardOutput(lambda: sys.stderr.buffer)
