cimport cython


@cython.final
@cython.no_gc
cdef class Chunks:
    """Bytes that came in pieces and are taken in others."""
    cdef readonly Py_ssize_t size  # how many bytes there are

    # The first piece, of which what stands before `start` has been taken, and those behind it:
    # `rest` from `first` on.
    cdef bytes head
    cdef Py_ssize_t start
    cdef list rest
    cdef Py_ssize_t first

    cdef int append(self, bytes piece) except -1
    cdef bint joined_to_last(self, bytes piece) except -1
    cdef int prepend(self, bytes piece) except -1
    cdef bytes take(self, Py_ssize_t count)
    cdef bytes take_across(self, Py_ssize_t count)
    cdef int drop_head(self) except -1
    cdef int drop_all(self) except -1
    cdef Py_ssize_t find(self, bytes separator, Py_ssize_t offset) except -2
    cdef Py_ssize_t find_in(self, bytes piece, Py_ssize_t start, Py_ssize_t index, bytes separator)
    cdef bint matches_at(self, bytes piece, Py_ssize_t start, Py_ssize_t index, bytes separator)
