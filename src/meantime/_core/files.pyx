"""Regular files without a thread of Python's: the poller reads, writes and syncs.

What is in the page cache is better read without it, in one system call. A request that nobody waits
for any more goes on to its end, as one in a thread does.
"""
import os
from asyncio.events import _get_running_loop

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pythread cimport PyThread_get_thread_ident
from cpython.ref cimport Py_INCREF
from libc.errno cimport EAGAIN, EINTR, EIO
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from meantime._core.kernel cimport (
    ECANCELED,
    RING_FSYNC_DATASYNC,
    RING_OP_FSYNC,
    RING_OP_READ,
    RING_OP_WRITE,
)
from meantime._core.loop cimport Loop
from meantime._core.poller.contract cimport Operation

cdef enum:
    # A read of what turns out to be in memory is made by the loop's thread as it submits it.
    READ_BYTES_MAX = 1 << 20
    # More than that is not copied: a hop to a thread of Python's takes less.
    COPIED_BYTES_MAX = 1 << 18
    # What an operation's length has room for. The kernel would take no more at a time.
    PART_BYTES_MAX = 0x7ffff000

cdef int64_t OFFSET_MAX = <int64_t>1 << 62


cdef class FileOperation(Operation):
    """One request, and the future of its result.

    `settle` is called in the loop's thread when it is over, whether or not it is waited for. There
    may be no future; then nobody hears of an error.
    """
    cdef Loop loop
    cdef object future
    cdef object settle

    cdef object begin(self, Loop loop, int fd, object settle):
        future = self.future = (<object>loop).create_future()
        self.start(loop, fd, settle)
        return future

    cdef int start(self, Loop loop, int fd, object settle) except -1:
        self.loop = loop
        self.fd = fd
        self.settle = settle
        return loop._poller.start(self)

    cdef int on_done(self, int result) except -1:
        if self.loop is None:
            return 0
        try:
            if result == -EINTR or result == -EAGAIN or (result >= 0 and self.takes(result)):
                if (self.must_end or not self.future.done()) and not self.loop.closed:
                    self.loop._poller.start(self)
                    return 0
            if result < 0:
                raise OSError(-result, os.strerror(-result))
            value = self.value()
        except Exception as error:
            return self.end(None, error)
        return self.end(value, None)

    cdef bint takes(self, int result) except -1:
        """Note what has come. Returns whether there is more to ask for."""
        return False

    cdef object value(self):
        return None

    cdef int end(self, object value, object error) except -1:
        loop = self.loop
        future = self.future
        settle = self.settle
        # What the kernel has not let go of stays for good, but not what it holds.
        self.loop = self.future = self.settle = None
        if settle is not None:
            try:
                settle()
            except Exception as trouble:
                error = error or trouble
        if loop.closed or future is None or future.done():
            return 0
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
        return 0


cdef class Transfer(FileOperation):
    """So many bytes that go to or from a position, in as many parts as the kernel likes."""
    cdef bytes data
    cdef Py_ssize_t size
    cdef Py_ssize_t done

    cdef object move(self, Loop loop, int fd, bytes data, int64_t offset, object settle):
        self.data = data
        self.size = PyBytes_GET_SIZE(data)
        self.offset = offset
        self.aim()
        return self.begin(loop, fd, settle)

    cdef int aim(self) noexcept:
        self.address = PyBytes_AS_STRING(self.data) + self.done
        self.length = min(self.size - self.done, <Py_ssize_t>PART_BYTES_MAX)
        return 0

    cdef bint takes(self, int result) except -1:
        self.done += result
        self.offset += result
        self.aim()
        return result > 0 and self.done < self.size


@cython.final
cdef class Read(Transfer):
    """A read of so many bytes; of fewer only where the file ends."""

    cdef object value(self):
        return self.data if self.done == self.size else self.data[:self.done]

    cdef int renew(self) except -1:
        data = PyBytes_FromStringAndSize(NULL, self.size)
        memcpy(PyBytes_AS_STRING(data), PyBytes_AS_STRING(self.data), self.done)
        Py_INCREF(self.data)
        self.data = data
        return self.aim()


@cython.final
cdef class Write(Transfer):
    """A write of all of some bytes."""

    cdef object value(self):
        if self.done < self.size:
            raise OSError(EIO, os.strerror(EIO))
        return self.size


@cython.final
cdef class Drain(Transfer):
    """A write of what a list holds, piece by piece, where the file's own position is.

    What is written is taken out of the list. If there is an error, the rest stays there, but for
    the last piece if that one is not to be kept.
    """
    cdef list backlog
    cdef bint keeps_last

    cdef int take_first(self) except -1:
        first = self.backlog[0]
        self.data = first if type(first) is bytes else bytes(first)
        self.size = PyBytes_GET_SIZE(self.data)
        self.done = 0
        return self.aim()

    cdef bint takes(self, int result) except -1:
        self.done += result
        if self.done == self.size:
            del self.backlog[0]
            if not self.backlog:
                return False
            self.take_first()
            return True
        self.aim()
        return result > 0

    cdef object value(self):
        if self.backlog:
            raise OSError(EIO, os.strerror(EIO))
        return None

    cdef int on_done(self, int result) except -1:
        if result == -ECANCELED and self.backlog:
            # The loop is closed, and a thread has this piece for good.
            del self.backlog[0]
            self.done = 0
        return FileOperation.on_done(self, result)

    cdef int end(self, object value, object error) except -1:
        if self.done and self.backlog:
            self.backlog[0] = self.data[self.done:]
        if error is not None and self.backlog and not self.keeps_last:
            self.backlog.pop()
        return FileOperation.end(self, value, error)


cdef Loop loop_that_operates():
    """Return the running loop if its poller can do this, or None."""
    loop = _get_running_loop()
    if not isinstance(loop, Loop) or not (<Loop>loop)._poller.operates:
        return None
    return loop


cdef bint operates():
    return loop_that_operates() is not None


cdef object read_at(int fd, object size, object offset, object settle):
    cdef Loop loop = loop_that_operates()
    cdef Read made
    if loop is None or type(size) is not int or type(offset) is not int:
        return None
    if not 0 < size <= READ_BYTES_MAX or not 0 <= offset <= OFFSET_MAX:
        return None
    made = Read.__new__(Read)
    made.opcode = RING_OP_READ
    return made.move(loop, fd, PyBytes_FromStringAndSize(NULL, size), offset, settle)


cdef bytes copied(object data):
    """Return what is to be written as bytes, or None where Python is to judge it."""
    if type(data) is bytes:
        return data if PyBytes_GET_SIZE(data) else None
    if type(data) is bytearray:
        return bytes(data) if 0 < len(data) <= COPIED_BYTES_MAX else None
    if type(data) is memoryview and 0 < data.nbytes <= COPIED_BYTES_MAX and data.c_contiguous:
        return bytes(data)
    return None


cdef object write_at(int fd, object data, object offset, object settle):
    cdef Loop loop = loop_that_operates()
    cdef Write made
    if loop is None or type(offset) is not int or not 0 <= offset <= OFFSET_MAX:
        return None
    taken = copied(data)
    if taken is None:
        return None
    made = Write.__new__(Write)
    made.opcode = RING_OP_WRITE
    made.must_end = True
    return made.move(loop, fd, taken, offset, settle)


cdef Drain new_drain(list backlog, bint keeps_last):
    cdef Drain made = Drain.__new__(Drain)
    made.opcode = RING_OP_WRITE
    made.must_end = True
    made.offset = <uint64_t>-1
    made.backlog = backlog
    made.keeps_last = keeps_last
    made.take_first()
    return made


cdef object drain(int fd, list backlog, bint keeps_last, object settle):
    cdef Loop loop = loop_that_operates()
    return None if loop is None else new_drain(backlog, keeps_last).begin(loop, fd, settle)


cdef object drain_behind(int fd, list backlog, object settle):
    cdef Loop loop = loop_that_operates()
    cdef Drain made
    if loop is None:
        return None
    made = new_drain(backlog, True)
    made.start(loop, fd, settle)
    return made


cdef int finish(object drain) except -1:
    cdef Loop loop = (<Drain>drain).loop
    if loop is None:
        return 0
    if loop._thread_id not in (0, PyThread_get_thread_ident()):
        raise RuntimeError(
            "this file is still written to, by a loop in another thread. Await flush() there first."
        )
    while (<Drain>drain).loop is not None:
        loop._poller.wait_for_operation()
    return 0


cdef object sync(int fd, bint data_only, object settle):
    cdef Loop loop = loop_that_operates()
    cdef FileOperation made
    if loop is None:
        return None
    made = FileOperation.__new__(FileOperation)
    made.opcode = RING_OP_FSYNC
    made.flags = RING_FSYNC_DATASYNC if data_only else 0
    return made.begin(loop, fd, settle)
