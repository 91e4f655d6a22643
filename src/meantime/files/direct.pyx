# cython: embedsignature=True, embedsignature.format=clinic
"""What an open file can be asked: answered at once from memory, else by one hop to a thread.

Each call is first tried on the loop's thread, where the file's `CachedFile` reads only what is in
the page cache. If that is enough, the call ends without suspending. If not, it is taken back to
where it began and made again in a thread, where it may wait. Taking back is what `tell` before and
`seek` after it do, so nothing is known here of buffers and encodings.

Lines are read ahead, many at a time, because `tell` in text is not cheap. Whatever else is asked
for then first goes back to the line that is next.
"""
import types

from meantime._core.receivers import check_receivers

cimport cython
from cpython.object cimport Py_TPFLAGS_HEAPTYPE, PyTypeObject

from meantime._core.coroutine cimport FRESH, mark_coroutine_function
from meantime.files.advice import advise
from meantime.files.closing import SYNC, SYNC_DATA
from meantime.files.filecalls cimport (
    FILLING,
    IN_THREAD,
    MOVING,
    READING,
    WRITING,
    Call,
    Close,
    NextLine,
    Positional,
    Sync,
    plain_call,
)
from meantime.files.openfile cimport OpenFile
from meantime.files.writes cimport write_call

cdef extern from "answers.h":
    void hand_down_iteration(PyTypeObject *base, PyTypeObject *type) noexcept


@cython.no_gc_clear
cdef class DirectFile(OpenFile):
    """The calls of a file that may wait. They come one after the other, in their order.

    Those with a position of their own, `read_at` and `write_at`, come whenever they can.
    """

    __class_getitem__ = classmethod(types.GenericAlias)

    # ---- reading

    @cython.binding(True)
    def read(self, size=-1, /):
        """Read at most `size` bytes or characters; all that is left if it is negative or None.

        Returns fewer at the end of the file, and nothing when there is no more.
        """
        return self.call("read", READING, 1, size, self.read_method)

    @cython.binding(True)
    def read1(self, size=-1, /):
        """Read at most `size` bytes with at most one read of the disk."""
        return self.call("read1", READING, 1, size)

    @cython.binding(True)
    def readinto(self, buffer, /):
        """Read into a buffer, and return how many bytes were read: 0 at the end of the file.

        When it is cancelled, nothing is written into the buffer.
        """
        return self.call("readinto", FILLING, 1, buffer)

    @cython.binding(True)
    def readinto1(self, buffer, /):
        """Read into a buffer with at most one read of the disk, and return how many bytes."""
        return self.call("readinto1", FILLING, 1, buffer)

    @cython.binding(True)
    def readline(self, size=-1, /):
        """Read to the end of the line, which is included, or at most `size` bytes or characters."""
        if size == -1:
            return self.next_line_call(False)
        return self.call("readline", READING, 1, size)

    @cython.binding(True)
    def readlines(self, hint=-1, /):
        """Read the lines that are left, or whole lines until they have `hint` bytes together."""
        return self.call("readlines", READING, 1, hint)

    @cython.binding(True)
    def peek(self, size=0, /):
        """Return bytes that come next, without moving on; how many may differ from `size`."""
        return self.call("peek", READING, 1, size)

    def __aiter__(self):
        return self

    def __anext__(self):
        if self.ahead is not None and not self.turns.busy and self.ahead.has_line():
            return self.ahead
        return self.next_line_call(True)

    # ---- writing

    @cython.binding(True)
    def write(self, data, /):
        """Write bytes or text, and return how many bytes or characters that was.

        They are in the file when it is flushed or closed. Until the call has ended, `data` must
        not be changed. What could not be written after an earlier call is tried again first; if
        that fails, its error is raised and nothing of `data` is taken.
        """
        method = self.write_method
        return write_call(self, "write", data, self.method("write") if method is None else method)

    @cython.binding(True)
    def writelines(self, lines, /):
        """Write each item of an iterable. No line ends are added."""
        return write_call(self, "writelines", lines, self.method("writelines"))

    @cython.binding(True)
    def flush(self):
        """Hand to the operating system what is buffered here."""
        return self.flush_call()

    @cython.binding(True)
    def fsync(self):
        """Flush, and wait until the disk has all of it, the file's size and times included."""
        return self.sync("fsync", SYNC)

    @cython.binding(True)
    def fdatasync(self):
        """Flush, and wait until the disk has all that is needed to read it again."""
        return self.sync("fdatasync", SYNC_DATA)

    # ---- the position

    @cython.binding(True)
    def seek(self, offset, whence=0, /):
        """Move to a position, and return it.

        Args:
            offset: in bytes; in text mode 0, or what `tell` returned.
            whence: `os.SEEK_SET`, from the start, `os.SEEK_CUR` or `os.SEEK_END`.
        """
        cdef Call made = self.call("seek", MOVING, 2, offset, self.seek_method)
        made.second = whence
        return made

    @cython.binding(True)
    def tell(self):
        """Return the position: in bytes, or in text mode a number that only `seek` understands."""
        return self.call("tell", MOVING, 0, None)

    @cython.binding(True)
    def truncate(self, size=None, /):
        """Cut or extend the file to `size` bytes, or to the position, and return its new size."""
        return self.call("truncate", IN_THREAD, 1, size)

    # ---- at a position of their own

    @cython.binding(True)
    def read_at(self, size, offset):
        """Read at most `size` bytes at `offset`, and leave the position alone.

        Any number of these may run at a time, beside each other and beside everything else. They
        read what is in the file: what `write` has not flushed yet is not.

        Returns fewer bytes at the end of the file only.

        Raises:
            ValueError: the file is closed.
            OSError: it cannot be read, or a number is negative.
        """
        return self.positional(size, offset, False)

    @cython.binding(True)
    def write_at(self, data, offset):
        """Write all of `data` at `offset`, and leave the position alone. Returns its size.

        Any number of these may run at a time. It goes into the file itself, past the buffer of
        `write`. On a file in mode 'a' Linux appends, whatever the offset is.

        Raises:
            ValueError: the file is closed.
            OSError: it cannot be written, or `offset` is negative.
        """
        return self.positional(data, offset, True)

    # ---- the end

    @cython.binding(True)
    def close(self):
        """Flush and close the file. May be called again.

        What is under way is waited for first. Cancelling ends the wait; the file is closed all the
        same.
        """
        cdef Close made = Close.__new__(Close)
        made.file = self
        made.stage = FRESH
        return made

    # ---- how calls are made

    cdef Call call(self, str name, int kind, int count, object first, object method=None):
        if method is None:
            method = self.method(name)
        return plain_call(self, name, kind, count, first, method)

    cdef object flush_call(self):
        return self.call("flush", WRITING, 0, None)

    cdef Sync sync(self, str name, object function):
        cdef Sync made = Sync.__new__(Sync)
        made.file = self
        made.name = name
        made.function = function
        made.stage = FRESH
        return made

    cdef object method(self, str name):
        try:
            return getattr(self.below, name)
        except ValueError as error:
            advise(error)
            raise

    cdef object next_line_call(self, bint is_step):
        cdef NextLine made = NextLine.__new__(NextLine)
        made.file = self
        made.name = "__anext__" if is_step else "readline"
        made.kind = READING
        made.is_step = is_step
        made.stage = FRESH
        return made

    cdef Positional positional(self, object what, object offset, bint writes):
        cdef Positional made = Positional.__new__(Positional)
        made.file = self
        made.what = what
        made.offset = offset
        made.writes = writes
        made.stage = FRESH
        return made


def adopt(type cls not None):
    """Let a class made in Python iterate as fast as DirectFile."""
    if not (cls.__flags__ & Py_TPFLAGS_HEAPTYPE and issubclass(cls, DirectFile)):
        raise TypeError(
            f"cannot adopt {cls.__name__}: only a subclass of DirectFile made in Python.")
    hand_down_iteration(<PyTypeObject *>DirectFile, <PyTypeObject *>cls)


for name in (
    "read", "read1", "readinto", "readinto1", "readline", "readlines", "peek", "write",
    "writelines", "flush", "fsync", "fdatasync", "seek", "tell", "truncate", "read_at", "write_at",
    "close",
):
    mark_coroutine_function(getattr(DirectFile, name))
check_receivers(globals())
