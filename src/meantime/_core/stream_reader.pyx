# cython: binding=True
"""The reader of a stream, as programs see it. What it holds is in stream_input.pyx, what its
coroutines do in stream_calls.pyx.
"""
import asyncio
import sys
from asyncio import format_helpers

from meantime._core.receivers import check_receivers

cimport cython

from meantime._core.coroutine cimport FRESH, mark_coroutine_function
from meantime._core.stream_calls cimport (
    Read,
    ReaderCall,
    ReadExactly,
    ReadLine,
    ReadToEnd,
    ReadUntil,
    WaitForData,
)
from meantime._core.stream_input cimport StreamInput, loop_for

# asyncio's own class. It does what is asked of a reader of which somebody has replaced a part.
cdef object original = asyncio.StreamReader

# What asyncio's methods call of each other, and a subclass may thus replace for all of them.
cdef tuple INNER_METHODS = (
    "read", "readline", "readuntil", "_wait_for_data", "_maybe_resume_transport",
)


@cython.no_gc_clear
cdef class StreamReader(StreamInput):
    "StreamReader(limit=65536, loop=None)\n--\n\n" """What arrives on a stream.

    It is used as asyncio.StreamReader.

    Args:
        limit: how many bytes `readuntil` and `readline` look through; the transport is paused while
            more than twice as many wait to be read.
        loop: the event loop; by default the current one.

    Raises:
        ValueError: the limit is not positive.
    """

    def __init__(self, limit=64 * 1024, loop=None):
        if limit <= 0:
            raise ValueError(
                f"Limit cannot be <= 0, and is {limit!r}. Leave it out for 64 KiB.")
        self._limit = limit
        self.loop = loop_for(loop)
        self.is_own_class = type(self) is StreamReader
        self.is_plain = self.is_own_class or self.inherits_all()
        if self.loop.get_debug():
            self._source_traceback = format_helpers.extract_stack(sys._getframe(0))

    @property
    def __class__(self):
        # Also for those who have asyncio's class at hand, such as asyncio's own StreamWriter.
        return original if type(self) is StreamReader else type(self)

    cdef bint inherits_all(self) except -1:
        for name in INNER_METHODS:
            if getattr(type(self), name) is not getattr(StreamReader, name):
                return False
        return True

    cdef bint replaces_none(self) except -1:
        own = vars(self)
        return not any([name in own for name in INNER_METHODS])

    cdef bint acts_as_itself(self) except -1:
        """Whether the methods are ours, and nobody has put another in the place of one."""
        return self.is_plain and (self.has_no_attributes() or self.replaces_none())

    def read(self, n=-1):
        """Return the next bytes: at least one, at most `n`; all until the end if `n` is negative.

        Returns ``b""`` at the end of the stream, and when `n` is 0. Cancelling loses nothing.

        Raises:
            RuntimeError: another task waits for data of this stream.
            OSError: the connection was lost.
        """
        cdef ReaderCall call
        if not self.acts_as_itself():
            return original.read(self, n)
        if type(n) is int and n < 0:
            call = ReadToEnd.__new__(ReadToEnd)
        else:
            call = Read.__new__(Read)
            (<Read>call).take_count(n)
        call.reader = self
        call.stage = FRESH
        return call

    def readexactly(self, n):
        """Return exactly `n` bytes. Cancelling loses nothing.

        Raises:
            asyncio.IncompleteReadError: the stream ended before; its `partial` is what came.
            ValueError: `n` is negative.
            RuntimeError: another task waits for data of this stream.
            OSError: the connection was lost.
        """
        cdef ReadExactly call
        if not self.acts_as_itself():
            return original.readexactly(self, n)
        call = ReadExactly.__new__(ReadExactly)
        call.reader = self
        call.take_count(n)
        call.stage = FRESH
        return call

    def readuntil(self, separator=b"\n"):
        """Return the bytes up to `separator`, and with it. Cancelling loses nothing.

        Args:
            separator: bytes, or a tuple of several; then the one counts that ends first.

        Raises:
            asyncio.IncompleteReadError: the stream ended before; its `partial` is what came.
            asyncio.LimitOverrunError: there are more bytes than the limit before it. They stay.
            ValueError: a separator is empty, or there is none.
            RuntimeError: another task waits for data of this stream.
            OSError: the connection was lost.
        """
        cdef ReadUntil call
        if not self.acts_as_itself():
            return original.readuntil(self, separator)
        call = ReadUntil.__new__(ReadUntil)
        call.reader = self
        call.given = separator
        call.stage = FRESH
        return call

    def readline(self):
        r"""Return the next line, with its ``b"\n"``; at the end of the stream what is left.

        Cancelling loses nothing.

        Raises:
            ValueError: the line is longer than the limit. It is thrown away, as far as it came.
            RuntimeError: another task waits for data of this stream.
            OSError: the connection was lost.
        """
        cdef ReadLine call
        if not self.acts_as_itself():
            return original.readline(self)
        call = ReadLine.__new__(ReadLine)
        call.reader = self
        call.stage = FRESH
        return call

    def __aiter__(self):
        return self

    def __anext__(self):
        cdef ReadLine call
        if not self.acts_as_itself():
            return original.__anext__(self)
        call = ReadLine.__new__(ReadLine)
        call.reader = self
        call.is_iteration = True
        call.stage = FRESH
        return call

    def _wait_for_data(self, func_name):
        cdef WaitForData call = WaitForData.__new__(WaitForData)
        call.reader = self
        call.function = str(func_name)
        call.stage = FRESH
        return call


for function in (
    StreamReader.read, StreamReader.readexactly, StreamReader.readuntil, StreamReader.readline,
    StreamReader._wait_for_data,
):
    mark_coroutine_function(function)
del function
check_receivers(globals())
