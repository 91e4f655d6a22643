"""What a stream reader holds: the pieces as they came, and how far they have been taken.

A piece that is taken whole is handed on as it is. Everything else is copied once, on its way out.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy

cdef extern from "string.h":
    void *memmem(const void *data, size_t size, const void *sought, size_t sought_size) noexcept

cdef enum:
    # Pieces smaller than this are joined, up to twice as much: a peer that sends byte by byte
    # would otherwise make us hold an object for each.
    SMALL_BYTES = 512
    # How many taken pieces may stand at the beginning of the list before they are cut off.
    TAKEN_MAX = 64


@cython.final
@cython.no_gc
cdef class Chunks:
    cdef int append(self, bytes piece) except -1:
        cdef Py_ssize_t count = PyBytes_GET_SIZE(piece)
        if count == 0:
            return 0
        if self.size == 0:
            self.head = piece
            self.start = 0
        elif count >= SMALL_BYTES or not self.joined_to_last(piece):
            if self.rest is None:
                self.rest = []
            self.rest.append(piece)
        self.size += count
        return 0

    cdef bint joined_to_last(self, bytes piece) except -1:
        """Join a small piece to the last one, if that is small as well."""
        cdef Py_ssize_t last = len(self.rest) - 1 if self.rest is not None else -1
        cdef Py_ssize_t start = self.start if last < self.first else 0
        cdef bytes before = self.head if last < self.first else self.rest[last]
        cdef Py_ssize_t kept = PyBytes_GET_SIZE(before) - start
        cdef bytes both
        if kept >= SMALL_BYTES:
            return False
        both = PyBytes_FromStringAndSize(NULL, kept + PyBytes_GET_SIZE(piece))
        memcpy(PyBytes_AS_STRING(both), PyBytes_AS_STRING(before) + start, kept)
        memcpy(PyBytes_AS_STRING(both) + kept, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
        if last < self.first:
            self.head = both
            self.start = 0
        else:
            self.rest[last] = both
        return True

    cdef int prepend(self, bytes piece) except -1:
        """Put `piece` in front of everything."""
        cdef Py_ssize_t count = PyBytes_GET_SIZE(piece)
        if count == 0:
            return 0
        if self.size:
            if self.rest is None:
                self.rest = []
            self.rest[:self.first] = [PyBytes_FromStringAndSize(
                PyBytes_AS_STRING(self.head) + self.start,
                PyBytes_GET_SIZE(self.head) - self.start,
            )]
            self.first = 0
        self.head = piece
        self.start = 0
        self.size += count
        return 0

    cdef bytes take(self, Py_ssize_t count):
        """Take the first `count` bytes, or all if there are fewer."""
        cdef Py_ssize_t left
        cdef bytes taken
        if count >= self.size:
            count = self.size
        if count <= 0:
            return b""
        left = PyBytes_GET_SIZE(self.head) - self.start
        if count > left:
            return self.take_across(count)
        if count == left and self.start == 0:
            taken = self.head
        else:
            taken = PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.head) + self.start, count)
        self.size -= count
        self.start += count
        if count == left:
            self.drop_head()
        return taken

    cdef bytes take_across(self, Py_ssize_t count):
        """Take more than the first piece has."""
        cdef bytes taken = PyBytes_FromStringAndSize(NULL, count)
        cdef char *end = PyBytes_AS_STRING(taken)
        cdef Py_ssize_t part
        self.size -= count
        while count:
            part = min(count, PyBytes_GET_SIZE(self.head) - self.start)
            memcpy(end, PyBytes_AS_STRING(self.head) + self.start, part)
            end += part
            count -= part
            self.start += part
            if self.start == PyBytes_GET_SIZE(self.head):
                self.drop_head()
        return taken

    cdef int drop_head(self) except -1:
        """Go on to the next piece. The size is the caller's."""
        self.start = 0
        if self.rest is None or self.first == len(self.rest):
            self.head = None
            return 0
        self.head = self.rest[self.first]
        self.rest[self.first] = None
        self.first += 1
        if self.first == len(self.rest):
            self.rest.clear()
            self.first = 0
        elif self.first > TAKEN_MAX:
            del self.rest[:self.first]
            self.first = 0
        return 0

    cdef int drop_all(self) except -1:
        self.head = self.rest = None
        self.start = self.first = self.size = 0
        return 0

    cdef Py_ssize_t find(self, bytes separator, Py_ssize_t offset) except -2:
        """Return where `separator` first begins at `offset` bytes or later, or -1."""
        cdef Py_ssize_t index, count, found
        cdef Py_ssize_t before = 0       # bytes of the pieces that were passed
        cdef Py_ssize_t start = self.start
        cdef bytes piece = self.head
        if self.size - offset < PyBytes_GET_SIZE(separator):
            return -1
        index = self.first
        while True:
            count = PyBytes_GET_SIZE(piece) - start
            if offset < before + count:
                found = self.find_in(piece, start + max(offset - before, 0), index, separator)
                if found >= 0:
                    return before + found - start
            if self.rest is None or index == len(self.rest):
                return -1
            before += count
            start = 0
            piece = self.rest[index]
            index += 1

    cdef Py_ssize_t find_in(self, bytes piece, Py_ssize_t start, Py_ssize_t index, bytes separator):
        """Return where in `piece` the separator begins; it may end in the pieces from `index` on.
        """
        cdef const char *data = PyBytes_AS_STRING(piece)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(piece)
        cdef Py_ssize_t sought = PyBytes_GET_SIZE(separator)
        cdef const char *found
        if sought == 1:
            found = <const char *>memchr(
                data + start, PyBytes_AS_STRING(separator)[0], size - start)
            return found - data if found != NULL else -1
        found = <const char *>memmem(
            data + start, size - start, PyBytes_AS_STRING(separator), sought)
        if found != NULL:
            return found - data
        for start in range(max(start, size - sought + 1), size):
            if self.matches_at(piece, start, index, separator):
                return start
        return -1

    cdef bint matches_at(self, bytes piece, Py_ssize_t start, Py_ssize_t index, bytes separator):
        """Whether the separator stands at `start` of `piece` and goes on in the next pieces."""
        cdef const char *sought = PyBytes_AS_STRING(separator)
        cdef Py_ssize_t left = PyBytes_GET_SIZE(separator)
        cdef Py_ssize_t part
        while True:
            part = min(left, PyBytes_GET_SIZE(piece) - start)
            if memcmp(PyBytes_AS_STRING(piece) + start, sought, part) != 0:
                return False
            sought += part
            left -= part
            if left == 0:
                return True
            if self.rest is None or index == len(self.rest):
                return False
            piece = self.rest[index]
            index += 1
            start = 0
