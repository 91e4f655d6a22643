"""Regular files on io_uring: the kernel reads and syncs, and no thread waits for the disk.

What is in the page cache is better read without the ring, in one system call. Writes are made by
the kernel's own workers, where the file system cannot take them at once; one file's are made one
after the other there, as its lock has it anyway. Long ones are as well made in a thread.

A request that nobody waits for any more goes on to its end, as one in a thread does.
"""
import os
from asyncio.events import _get_running_loop

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF
from libc.errno cimport EAGAIN, EINTR, EIO
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from meantime._core.kernel cimport (
    F_GETFL,
    O_APPEND,
    RING_FSYNC_DATASYNC,
    RING_OP_FSYNC,
    RING_OP_READ,
    RING_OP_WRITE,
    fcntl,
)
from meantime._core.loop cimport Loop
from meantime._core.poller.contract cimport Operation

cdef enum:
    # A read of what turns out to be in memory is made by the loop's thread as it submits it.
    READ_BYTES_MAX = 1 << 20
    # Above this a thread's hop does not count, and a copy would.
    WRITE_BYTES_MAX = 1 << 18

cdef int64_t OFFSET_MAX = <int64_t>1 << 62


cdef class FileOperation(Operation):
    """One request, and the future of its result.

    `settle` is called in the loop's thread when it is over, whether or not it is waited for.
    """
    cdef Loop loop
    cdef object future
    cdef object settle

    cdef object begin(self, Loop loop, int fd, object settle):
        self.loop = loop
        self.fd = fd
        self.settle = settle
        self.future = (<object>loop).create_future()
        loop._poller.start(self)
        return self.future

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
        if loop.closed or future.done():
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
        self.length = self.size - self.done
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

    cdef int renew(self) except -1:
        # The same bytes at the same place: it does no harm if the old ring has written them, too.
        Py_INCREF(self.data)
        return self.aim()


cdef Loop loop_that_operates():
    """Return the running loop if its poller can do this, or None."""
    loop = _get_running_loop()
    if not isinstance(loop, Loop) or not (<Loop>loop)._poller.operates:
        return None
    return loop


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
        return data if 0 < PyBytes_GET_SIZE(data) <= WRITE_BYTES_MAX else None
    if type(data) is bytearray:
        return bytes(data) if 0 < len(data) <= WRITE_BYTES_MAX else None
    if type(data) is memoryview and 0 < data.nbytes <= WRITE_BYTES_MAX and data.c_contiguous:
        return bytes(data)
    return None


cdef object write_at(int fd, object data, object offset, object settle):
    cdef Loop loop = loop_that_operates()
    cdef Write made
    if loop is None or type(offset) is not int or not 0 <= offset <= OFFSET_MAX:
        return None
    if fcntl(fd, F_GETFL) & O_APPEND:
        # A ring that is replaced gives what is under way to the next one: it might be twice there.
        return None
    taken = copied(data)
    if taken is None:
        return None
    made = Write.__new__(Write)
    made.opcode = RING_OP_WRITE
    made.must_end = True
    return made.move(loop, fd, taken, offset, settle)


cdef object sync(int fd, bint data_only, object settle):
    cdef Loop loop = loop_that_operates()
    cdef FileOperation made
    if loop is None:
        return None
    made = FileOperation.__new__(FileOperation)
    made.opcode = RING_OP_FSYNC
    made.flags = RING_FSYNC_DATASYNC if data_only else 0
    return made.begin(loop, fd, settle)
