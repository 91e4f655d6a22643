from meantime._core.chunks cimport Chunks
from meantime._core.coroutine cimport Coroutine
from meantime._core.stream_input cimport StreamInput

cdef class ReaderCall(Coroutine):
    """A call of one of a reader's coroutines."""
    cdef StreamInput reader
    cdef object waiter            # the future that we wait for

    cdef int raise_if_failed(self) except -1
    cdef object attempt(self)
    cdef object wait(self, str function)
    cdef int go_on(self) except -1
    cdef int stop_waiting(self) except -1

cdef class CountedCall(ReaderCall):
    """One that has an argument `n`."""
    cdef Py_ssize_t count         # of bytes
    cdef object given             # `n` itself, where somebody has yet to look what it is
    cdef bint is_counted          # or nobody has to: `count` is right

    cdef int take_count(self, object given) except -1
    cdef Py_ssize_t counted(self) except? -1

cdef class Read(CountedCall):
    pass

cdef class ReadToEnd(ReaderCall):
    cdef list pieces

    cdef int put_back(self) except -1

cdef class ReadExactly(CountedCall):
    pass

cdef class ReadUntil(ReaderCall):
    cdef object given             # the argument `separator`
    cdef bytes separator          # the only one, or
    cdef list separators          # several, the shortest first
    cdef Py_ssize_t size_min
    cdef Py_ssize_t size_max
    cdef Py_ssize_t offset        # before it no separator begins

    cdef int take_separators(self) except -1
    cdef Py_ssize_t search(self, Chunks chunks, Py_ssize_t *end) except -2
    cdef object too_long(self, str message, Py_ssize_t consumed)
    cdef object got(self, bytes line)
    cdef object ended(self, bytes rest)

cdef class ReadLine(ReadUntil):
    cdef bint is_iteration        # for `async for`, which ends with the stream

cdef class WaitForData(ReaderCall):
    cdef str function

cdef ReadToEnd read_to_end(StreamInput reader)
