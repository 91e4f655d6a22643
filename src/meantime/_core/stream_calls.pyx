"""What the coroutines of a reader do. Each ends at its first step when enough is there already.

What they want stays with the reader until all of it is there, so that a cancellation loses nothing.
`read` until the end is the exception, because nothing bounds it: it puts back what it collected.
"""
import asyncio
import operator

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.long cimport PyLong_CheckExact

from meantime._core.chunks cimport Chunks
from meantime._core.coroutine cimport FRESH, Coroutine
from meantime._core.stream_input cimport StreamInput, clipped

cdef object IncompleteReadError = asyncio.IncompleteReadError
cdef object LimitOverrunError = asyncio.LimitOverrunError


cdef class ReaderCall(Coroutine):
    cdef object begin(self):
        self.raise_if_failed()
        return self.attempt()

    cdef object resume(self, object value):
        self.go_on()
        return self.attempt()

    cdef int go_on(self) except -1:
        """The data that we waited for is there."""
        waiter = self.waiter
        self.stop_waiting()
        return self.reader.waited_for(waiter)

    cdef object fail(self, object exception):
        self.stop_waiting()
        raise exception

    cdef int raise_if_failed(self) except -1:
        if self.reader._exception is not None:
            raise self.reader._exception
        return 0

    cdef object attempt(self):
        """End with what is wanted if it is there. Otherwise wait."""
        return self.finish(None)

    cdef object wait(self, str function):
        self.waiter = self.reader.new_waiter(function)
        return self.waiter

    cdef int stop_waiting(self) except -1:
        # By then, another may wait: this one's future was done, and another read before it.
        if self.waiter is not None and self.reader._waiter is self.waiter:
            self.reader._waiter = None
        self.waiter = None
        return 0


cdef class CountedCall(ReaderCall):
    cdef int take_count(self, object given) except -1:
        """Note the argument. What is wrong with it is for the first step to say."""
        if PyLong_CheckExact(given):
            try:
                self.count = given
                self.is_counted = True
                return 0
            except OverflowError:
                pass
        self.given = given
        return 0

    cdef Py_ssize_t counted(self) except? -1:
        if not self.is_counted:
            number = operator.index(self.given)
            self.count = clipped(number) if number >= 0 else -1
        return self.count


cdef class Read(CountedCall):
    cdef object begin(self):
        self.raise_if_failed()
        if self.counted() == 0:
            return self.finish(b"")
        if self.count < 0:
            return read_to_end(self.reader)
        return self.attempt()

    cdef object resume(self, object value):
        if self.waiter is None:
            # What `read_to_end` gave.
            return self.finish(value)
        self.go_on()
        return self.attempt()

    cdef object attempt(self):
        if self.reader.held() == 0 and not self.reader._eof:
            return self.wait("read")
        return self.finish(self.reader.take(self.count))

    cdef str qualified_name(self):
        return "StreamReader.read"


cdef ReadToEnd read_to_end(StreamInput reader):
    cdef ReadToEnd call = ReadToEnd.__new__(ReadToEnd)
    call.reader = reader
    call.stage = FRESH
    return call


cdef class ReadToEnd(ReaderCall):
    cdef object attempt(self):
        cdef StreamInput reader = self.reader
        if self.pieces is None:
            self.pieces = []
        try:
            while reader.held():
                self.pieces.append(reader.take(reader.chunks.size))
            self.raise_if_failed()
            if not reader._eof:
                return self.wait("read")
        except BaseException:
            self.put_back()
            raise
        return self.finish(b"".join(self.pieces))

    cdef object fail(self, object exception):
        self.stop_waiting()
        self.put_back()
        raise exception

    cdef int put_back(self) except -1:
        collected = b"".join(self.pieces)
        self.pieces = None
        return self.reader.put_back(collected)

    cdef str qualified_name(self):
        return "StreamReader.read"


cdef class ReadExactly(CountedCall):
    cdef object begin(self):
        if self.counted() < 0:
            raise ValueError(
                "readexactly size can not be less than zero. Use read() for all that comes.")
        self.raise_if_failed()
        return self.attempt()

    cdef object attempt(self):
        cdef StreamInput reader = self.reader
        if self.count == 0:
            return self.finish(b"")
        if reader.held() >= self.count:
            return self.finish(reader.take(self.count))
        if reader._eof:
            expected = self.count if self.is_counted else self.given
            raise IncompleteReadError(reader.take_rest(), expected)
        return self.wait("readexactly")

    cdef str qualified_name(self):
        return "StreamReader.readexactly"


cdef bytes separator_bytes(object given):
    if type(given) is bytes:
        return given
    if not isinstance(given, (bytes, bytearray, memoryview)):
        raise TypeError(
            "argument should be integer or bytes-like object, "
            f"not {type(given).__name__!r}: a stream carries bytes. Give a separator of bytes."
        )
    return bytes(given)


cdef class ReadUntil(ReaderCall):
    cdef object begin(self):
        self.take_separators()
        self.raise_if_failed()
        return self.attempt()

    cdef int take_separators(self) except -1:
        if type(self.given) is bytes:
            self.separator = self.given
            self.size_min = self.size_max = PyBytes_GET_SIZE(self.separator)
        else:
            several = self.given if isinstance(self.given, tuple) else (self.given,)
            if not several:
                raise ValueError("Separator should contain at least one element")
            self.separators = sorted([separator_bytes(one) for one in several], key=len)
            self.size_min = len(self.separators[0])
            self.size_max = max([len(one) for one in self.separators])
        if self.size_min == 0:
            raise ValueError("Separator should be at least one-byte string")
        return 0

    cdef object attempt(self):
        cdef StreamInput reader = self.reader
        cdef Py_ssize_t begins
        cdef Py_ssize_t ends = 0
        cdef Py_ssize_t size = reader.held()
        if size - self.offset >= self.size_min:
            begins = self.search(reader.chunks, &ends)
            if begins > reader.limit_bytes:
                return self.too_long(
                    "Separator is found, but chunk is longer than limit", begins)
            if begins >= 0:
                return self.got(reader.take(ends))
            # The last bytes may be the beginning of a separator.
            self.offset = max(0, size + 1 - self.size_max)
            if self.offset > reader.limit_bytes:
                return self.too_long(
                    "Separator is not found, and chunk exceed the limit", self.offset)
        if reader._eof:
            return self.ended(reader.take_rest())
        return self.wait("readuntil")

    cdef Py_ssize_t search(self, Chunks chunks, Py_ssize_t *end) except -2:
        """Return where the separator that ends first begins, and set `end` to where; or -1."""
        cdef Py_ssize_t found
        cdef Py_ssize_t begins = -1
        cdef bytes separator
        if self.separators is None:
            begins = chunks.find(self.separator, self.offset)
            end[0] = begins + self.size_min
            return begins
        for separator in self.separators:
            found = chunks.find(separator, self.offset)
            if found >= 0 and (begins < 0 or found + PyBytes_GET_SIZE(separator) < end[0]):
                begins = found
                end[0] = found + PyBytes_GET_SIZE(separator)
        return begins

    cdef object got(self, bytes line):
        return self.finish(line)

    cdef object ended(self, bytes rest):
        raise IncompleteReadError(rest, None)

    cdef object too_long(self, str message, Py_ssize_t consumed):
        raise LimitOverrunError(message, consumed)

    cdef str qualified_name(self):
        return "StreamReader.readuntil"


cdef class ReadLine(ReadUntil):
    cdef int take_separators(self) except -1:
        self.separator = b"\n"
        self.size_min = self.size_max = 1
        return 0

    cdef object got(self, bytes line):
        return self.ended(line)

    cdef object ended(self, bytes rest):
        if self.is_iteration and not rest:
            raise StopAsyncIteration
        return self.finish(rest)

    cdef object too_long(self, str message, Py_ssize_t consumed):
        """Throw the line away, so that the next one can be read, and say so."""
        cdef StreamInput reader = self.reader
        try:
            raise LimitOverrunError(message, consumed)
        except LimitOverrunError:
            if reader.chunks.find(b"\n", consumed) == consumed:
                reader.take(consumed + 1)
            else:
                reader.take(reader.chunks.size)
            raise ValueError(message)

    cdef str qualified_name(self):
        return "StreamReader.__anext__" if self.is_iteration else "StreamReader.readline"


cdef class WaitForData(ReaderCall):
    cdef object begin(self):
        return self.wait(self.function)

    cdef str qualified_name(self):
        return "StreamReader._wait_for_data"
