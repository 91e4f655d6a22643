"""Regular files as far as they are in memory: read at once, or not at all.

A `CachedFile` takes the place of the FileIO below a file's buffer, so that everything above it,
which is Python's own, works as ever: positions, lines, decoding, errors. While `may_wait` is False
it is used on the loop's thread. Then it reads only what the page cache has, and raises `WouldWait`
where a disk would have to be waited for. What is written and cannot be taken at once goes to a
backlog, in order, and whoever made the call has a thread hand it over before the call ends.
"""
import errno
import io
import os
import sys
from functools import partial

cimport cython
from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_XDECREF
from libc.errno cimport EAGAIN, EINVAL, ENOSYS, EOPNOTSUPP, EPERM
from libc.errno cimport errno as error_number
from libc.stdint cimport int64_t
from libc.string cimport memcpy
from posix.fcntl cimport O_RDONLY

from meantime._core.files cimport read_at as start_read

cdef extern from "Python.h":
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *text, Py_ssize_t size)
    int resize_bytes "_PyBytes_Resize"(PyObject **data, Py_ssize_t size) except -1
    int encode_path "PyUnicode_FSConverter"(object path, PyObject **encoded) except 0

cdef extern from *:
    """
    #define set_attributes(type, function) ((type)->tp_getattro = (getattrofunc)(function))
    """
    ctypedef void *getattrofunc
    void set_attributes(PyTypeObject *type, getattrofunc function) noexcept
    object PyObject_GenericGetAttr(object owner, object name)


class WouldWaitForDisk(BaseException):
    """What was asked for is not in memory."""


cdef object WouldWait = WouldWaitForDisk


cdef int64_t LARGEST = <int64_t>1 << 62

cdef enum:
    # What is copied on the loop's thread at most, for a write at a position.
    WRITTEN_BYTES_MAX = 1 << 16
    # The room that a file begins with. The next one is four times as large.
    GATHERED_BYTES_MIN = 1 << 13


cdef bint is_refusal(int number) noexcept:
    """Whether an error only says that the kernel cannot do it without waiting, or not that way."""
    return number in (EAGAIN, EOPNOTSUPP, ENOSYS, EINVAL, EPERM)


@cython.final
cdef class CachedFile:
    """Stands in for an io.FileIO of a regular file."""

    def __cinit__(self):
        self.fd = -1
        self.may_wait = True
        self.first_room = GATHERED_BYTES_MIN

    def __dealloc__(self):
        Py_XDECREF(self.gathered)

    cdef int check_open(self) except -1:
        if self.fd < 0:
            raise ValueError("I/O operation on closed file")
        return 0

    cdef int before(self) except -1:
        """Let nothing go before what was written."""
        if self.gathered_bytes:
            self.leave_gathered()
        if self.backlog is not None:
            if not self.may_wait:
                raise WouldWait
            self.drain()
        return 0

    cdef int drain(self) except -1:
        """Hand the backlog over. What fails stays in it. This is called in a thread."""
        while self.backlog:
            data = self.backlog[0]
            count = self.plain.write(data)
            if count is None:
                raise BlockingIOError(errno.EAGAIN, "write could not complete without blocking", 0)
            if count == len(data):
                self.backlog.pop(0)
            else:
                self.backlog[0] = memoryview(data)[count:]
        self.backlog = None
        return 0

    # ---- small writes, which the buffer above is not asked for

    cdef bint gather(self, bytes data) except -1:
        """Keep small bytes with those before. Returns False where there is no room for them."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if size == 0:
            return True
        if size > self.room_left() and not self.make_room(self.gathered_bytes + size):
            return False
        self.put(data)
        return True

    cdef Py_ssize_t room_left(self) noexcept:
        """Return for how many bytes there is room now."""
        return self.gather_room - self.gathered_bytes

    cdef void put(self, bytes data) noexcept:
        """Keep bytes for which there is room."""
        memcpy(PyBytes_AS_STRING(<object>self.gathered) + self.gathered_bytes,
               PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        self.gathered_bytes += PyBytes_GET_SIZE(data)

    cdef bint make_room(self, Py_ssize_t wanted) except -1:
        cdef Py_ssize_t room = max(self.gather_room * 4, wanted, self.first_room)
        cdef PyObject *grown
        if wanted > self.gather_bytes_max or self.fd < 0:
            return False
        room = min(room, self.gather_bytes_max)
        if self.gathered == NULL:
            self.gathered = new_bytes(NULL, room)
            if self.gathered == NULL:
                raise MemoryError()
        else:
            grown = new_bytes(NULL, room)
            if grown == NULL:
                raise MemoryError()
            memcpy(PyBytes_AS_STRING(<object>grown), PyBytes_AS_STRING(<object>self.gathered),
                   self.gathered_bytes)
            Py_XDECREF(self.gathered)
            self.gathered = grown
        self.gather_room = room
        return True

    cdef bytes take_gathered(self):
        cdef PyObject *taken = self.gathered
        cdef Py_ssize_t size = self.gathered_bytes
        if taken == NULL:
            return b""
        self.gathered = NULL
        self.gathered_bytes = self.gather_room = 0
        # There may be as much again.
        self.first_room = max(size, GATHERED_BYTES_MIN)
        resize_bytes(&taken, size)
        data = <object>taken
        Py_XDECREF(taken)
        return data

    cdef int leave_gathered(self) except -1:
        """Write what was gathered if that needs no waiting, or leave it behind."""
        cdef Py_ssize_t count
        data = self.take_gathered()
        if self.backlog is None:
            if self.writes_cache and data:
                count = cached_write(self.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), -1)
                if count == PyBytes_GET_SIZE(data):
                    return 0
                self.writes_cache = count >= 0 or error_number == EAGAIN
                data = data[max(count, 0):]
            self.backlog = []
        if data:
            self.backlog.append(data)
        elif not self.backlog:
            self.backlog = None
        return 0

    # ---- what buffers ask

    def readinto(self, buffer):
        """Read into a buffer, and return how many bytes."""
        cdef Py_buffer view
        self.check_open()
        self.before()
        if self.may_wait:
            return self.plain.readinto(buffer)
        if not self.reads_cache:
            raise WouldWait
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            return self.read_now(view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    cdef Py_ssize_t read_now(self, void *memory, Py_ssize_t size) except -1:
        cdef Py_ssize_t count
        if size > self.room_bytes:
            raise WouldWait
        count = cached_read(self.fd, memory, size, -1)
        if count < 0:
            if not is_refusal(error_number):
                raise OSError(error_number, os.strerror(error_number))
            self.reads_cache = error_number == EAGAIN
            raise WouldWait
        # If these are fewer than asked for, they are all that there are or all that are in memory.
        # The buffer above asks again.
        self.room_bytes -= count
        return count

    def readall(self):
        """Read all that is left."""
        cdef Py_ssize_t left, count
        self.check_open()
        self.before()
        if self.may_wait:
            return self.plain.readall()
        left = os.fstat(self.fd).st_size - self.plain.tell()
        if not self.reads_cache or left > self.room_bytes:
            raise WouldWait
        parts = []
        left = max(left, 0) + 1
        while True:
            # One more than there is: that it does not come proves the end.
            part = PyBytes_FromStringAndSize(NULL, left)
            count = self.read_now(PyBytes_AS_STRING(part), left)
            if count == 0:
                break
            parts.append(part if count == left else part[:count])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read(self, size=-1):
        """Read at most `size` bytes."""
        if size is None or size < 0:
            return self.readall()
        self.check_open()
        self.before()
        if self.may_wait:
            return self.plain.read(size)
        if size > self.room_bytes:
            raise WouldWait
        data = bytearray(size)
        del data[self.readinto(data):]
        return bytes(data)

    def write(self, data):
        """Write, and return how many bytes were taken."""
        cdef Py_buffer view
        cdef Py_ssize_t count
        self.check_open()
        if self.may_wait:
            self.before()
            return self.plain.write(data)
        if not self.plain.writable():
            raise io.UnsupportedOperation("File not open for writing")
        if self.gathered_bytes:
            self.leave_gathered()
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if self.writes_cache and self.backlog is None and view.len:
                count = cached_write(self.fd, view.buf, view.len, -1)
                if count > 0:
                    return count
                self.writes_cache = count < 0 and error_number == EAGAIN
            if self.backlog is None:
                self.backlog = []
            # Copied, because the buffer is used again as soon as this returns.
            self.backlog.append(PyBytes_FromStringAndSize(<char *>view.buf, view.len))
            return view.len
        finally:
            PyBuffer_Release(&view)

    def seek(self, offset, whence=0):
        """Move to a position, and return it."""
        cdef int64_t place = -1
        self.check_open()
        self.before()
        if type(offset) is int and -LARGEST < offset < LARGEST:
            place = lseek(self.fd, offset, whence)
        # What cannot be done is told in Python's own words.
        return place if place >= 0 else self.plain.seek(offset, whence)

    def tell(self):
        """Return the position."""
        cdef int64_t place
        self.check_open()
        self.before()
        place = lseek(self.fd, 0, SEEK_CUR)
        return place if place >= 0 else self.plain.tell()

    def truncate(self, size=None):
        """Cut or extend the file."""
        self.check_open()
        if not self.may_wait:
            raise WouldWait
        self.before()
        return self.plain.truncate(size)

    def flush(self):
        """Do nothing: what is buffered is above."""
        if self.fd < 0:
            raise ValueError("I/O operation on closed file.")

    def close(self):
        """Close the descriptor. What is in the backlog is handed over before."""
        if self.fd < 0:
            return
        try:
            self.before()
        finally:
            self.fd = -1
            self.backlog = None
            self.plain.close()

    def fileno(self):
        """Return the descriptor."""
        return self.plain.fileno()

    def isatty(self):
        """Return False: it is a regular file."""
        self.check_open()
        return False

    def readable(self):
        """Return whether it can be read."""
        return self.plain.readable()

    def writable(self):
        """Return whether it can be written."""
        return self.plain.writable()

    def seekable(self):
        """Return True: it is a regular file."""
        return self.plain.seekable()

    def _dealloc_warn(self, source):
        self.plain._dealloc_warn(source)

    @property
    def closed(self):
        """Whether it is closed."""
        return self.fd < 0

    @property
    def name(self):
        """The path or the descriptor that was opened."""
        return self.plain.name

    @property
    def mode(self):
        """The mode it was opened in."""
        return self.plain.mode

    @property
    def closefd(self):
        """Whether the descriptor is closed with it."""
        return self.plain.closefd

    def __repr__(self):
        return f"<CachedFile on {self.plain!r}>"


cdef object attribute_of(CachedFile self, object name):
    """Python's buffers ask for `closed` in each call."""
    if name is CLOSED:
        return self.fd < 0
    return PyObject_GenericGetAttr(self, name)


cdef str CLOSED = sys.intern("closed")
set_attributes(<PyTypeObject *>CachedFile, <getattrofunc>attribute_of)


def stand_in(plain, Py_ssize_t buffer_bytes):
    """Return what takes the place of a regular file's io.FileIO, below a buffer of some size."""
    cdef CachedFile made = CachedFile.__new__(CachedFile)
    made.plain = plain
    made.fd = plain.fileno()
    made.reads_cache = made.writes_cache = True
    # What is more is never kept in the buffer: it is written.
    made.gather_bytes_max = buffer_bytes - 1
    made.appends = "a" in plain.mode
    return made


# Programs ask for it when they look below a buffer.
io.RawIOBase.register(CachedFile)


# ---- without a file object


cdef object read_at_now(int fd, object size, object offset):
    """Read `size` bytes at `offset`, fewer at the file's end. None: that would have to wait."""
    cdef Py_ssize_t wanted = size, count, done = 0
    cdef int64_t place = offset
    if wanted <= 0 or wanted > INLINE_BYTES_MAX or place < 0:
        return None
    made = PyBytes_FromStringAndSize(NULL, wanted)
    while done < wanted:
        count = cached_read(fd, PyBytes_AS_STRING(made) + done, wanted - done, place + done)
        if count < 0:
            return None
        if count == 0:
            break
        done += count
    return made if done == wanted else made[:done]


cdef bint write_at_now(CachedFile file, object data, object offset) except -1:
    """Write bytes at a position if that needs no waiting. Returns whether all is written.

    If it is not, all of it has to be written again: the same bytes at the same place.
    """
    cdef Py_ssize_t count
    if not file.writes_cache or file.appends or type(data) is not bytes or type(offset) is not int:
        return False
    if not 0 < PyBytes_GET_SIZE(data) <= WRITTEN_BYTES_MAX or not 0 <= offset <= LARGEST:
        return False
    count = cached_write(file.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), offset)
    file.writes_cache = count >= 0 or error_number == EAGAIN
    return count == PyBytes_GET_SIZE(data)


def read_whole_now(path):
    """Return all that is in a regular file, or None where a thread would have to wait for it.

    Where the loop has somebody to wait, a future of it is returned.
    """
    cdef int64_t size = 0
    cdef Py_ssize_t count
    cdef int fd
    if isinstance(path, int):
        return None
    try:
        encoded = encoded_path(path)
    except ValueError:
        return None
    fd = cached_peep(encoded, O_RDONLY, &size)
    if fd < 0:
        return None
    waiter = None
    try:
        # A size of 0 is also what the files of /proc tell, whatever is in them.
        if size == 0 or size > INLINE_BYTES_MAX:
            return None
        data = PyBytes_FromStringAndSize(NULL, size)
        count = cached_read_whole(fd, PyBytes_AS_STRING(data), size)
        if count == size:
            return data
        # It is not in memory, or it is not what it was when its size was asked for.
        fd = cached_keep(fd, O_RDONLY, &size)
        if fd < 0 or size == 0 or size > INLINE_BYTES_MAX:
            return None
        # The descriptor is open until the kernel has said its last word.
        waiter = start_read(fd, size, 0, partial(os.close, fd))
        return waiter
    finally:
        if waiter is None and fd >= 0:
            close_fd(fd)


cdef bytes encoded_path(object path):
    """Return a path as the kernel has it. Raises ValueError where it has no such one."""
    cdef PyObject *made = NULL
    encode_path(path, &made)
    try:
        return <bytes>made
    finally:
        Py_XDECREF(made)


def open_now(path, flags):
    """Open a regular file whose path is in memory. Raises WouldWaitForDisk in all other cases."""
    cdef int64_t size = 0
    encoded = encoded_path(path)
    cdef int fd = cached_open(encoded, flags, &size)
    if fd < 0:
        raise WouldWait
    return fd
