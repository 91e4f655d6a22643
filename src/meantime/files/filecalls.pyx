"""The calls of a file: what is awaited. Each is tried at once, and made in a thread if need be."""
import asyncio

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport int64_t

from meantime._core.coroutine cimport FRESH, Coroutine, Spares, keep_spares, spare_or_new
from meantime._core.files cimport drain as start_drain
from meantime._core.files cimport read_at as start_read
from meantime._core.files cimport sync as start_sync
from meantime._core.files cimport write_at as start_write
from meantime.files.advice import advise
from meantime.files.cached cimport (
    INLINE_BYTES_MAX,
    CachedFile,
    WouldWait,
    read_at_now,
    write_at_now,
)
from meantime.files.closing import SYNC_DATA, Closing, may_close_now
from meantime.files.openfile cimport OpenFile
from meantime.files.positional import read_all_at, write_all_at
from meantime.files.threads import Job
from meantime.files.turns cimport is_time_to_pause, is_time_to_pause_after_small

cdef extern from "answers.h":
    ctypedef PyObject *(*answer_next)(PyObject *) noexcept
    void set_answering(PyTypeObject *type, answer_next next) noexcept

cdef Spares spare_calls


cdef class Call(Coroutine):
    """One of those that come one after the other."""

    cdef str qualified_name(self):
        return "AsyncFile." + self.name

    cdef object begin(self):
        if self.file.turns.busy:
            self.waiter = self.file.turns.ask()
            return self.waiter
        if is_time_to_pause_after_small() if self.kind == WRITING else is_time_to_pause():
            # With the turn taken, so that no later call comes before.
            self.file.turns.busy = True
            self.is_paused = True
            return self.pause()
        return self.go()

    cdef object resume(self, object value):
        if self.is_paused or self.waiter is not None:
            # Now it is our turn.
            self.is_paused = False
            self.waiter = None
            return self.go()
        return self.finish(self.result if self.is_draining else self.taken(value))

    cdef object fail(self, object exception):
        if self.is_paused:
            self.file.turns.hand_over()
        elif self.waiter is not None:
            self.file.turns.withdraw(self.waiter)
        elif self.is_draining:
            advise(exception)
        raise exception

    cdef object go(self):
        """Answer at once, or go to a thread."""
        cdef OpenFile file = self.file
        cdef CachedFile cache = file.cache
        cdef bint is_flush = self.kind == WRITING and self.count == 0
        if is_flush and cache is not None and cache.gathered_bytes:
            cache.leave_gathered()
        else:
            file.settle()
        if cache is None or self.kind == IN_THREAD or cache.fd < 0:
            return self.hop(self.made_in_thread)
        cache.may_wait = False
        cache.room_bytes = INLINE_BYTES_MAX
        try:
            if self.method is file.write_method and file.ahead is None:
                file.position = -1
                result = self.method(self.first)
            else:
                result = self.attempt()
        except WouldWait:
            cache.may_wait = True
            return self.hop(self.made_in_thread)
        except BaseException as error:
            cache.may_wait = True
            if file.turns.busy:
                file.turns.hand_over()
            advise(error)
            raise
        cache.may_wait = True
        if is_flush or self.method is file.seek_method:
            file.buffer_is_empty()
        if cache.backlog is not None:
            self.result = result
            return self.drain()
        if file.turns.busy:
            file.turns.hand_over()
        return self.finish(result)

    cdef object hop(self, object function):
        self.file.turns.busy = True
        self.file.position = -1
        return Job(function, (), self.file.turns.give).wait()

    cdef object drain(self):
        """Have what was left behind written, and end then with the result."""
        cdef OpenFile file = self.file
        cdef bint is_bulk = self.kind == BULK
        file.turns.busy = True
        file.position = -1
        try:
            waiter = start_drain(file.cache.fd, file.cache.backlog, not is_bulk, file.end_drain)
        except BaseException:
            if is_bulk:
                file.cache.backlog.pop()
            file.end_drain()
            raise
        if waiter is None:
            return self.hop(self.drained)
        self.is_draining = True
        return waiter

    cdef object attempt(self):
        """Make the call on the loop's thread."""
        cdef OpenFile file = self.file
        cdef int64_t position
        if file.ahead is not None:
            file.go_back_to_line()
        if self.kind != READING and self.kind != FILLING:
            return self.made_elsewhere()
        if not file.can_read:
            return self.make()  # which says so
        position = file.position
        self.place = position if position >= 0 else file.place()
        # Not known while the call may fail.
        file.position = -1
        if self.name == "readlines":
            file.note_iteration()
        result = self.make()
        if not file.is_text and file.can_track:
            if self.kind == FILLING:
                file.position = self.place + result
            elif type(result) is bytes and self.method is file.read_method:
                file.position = self.place + PyBytes_GET_SIZE(result)
        return result

    cdef object made_elsewhere(self):
        """Make a call that moves the position to where it says, or anywhere."""
        cdef OpenFile file = self.file
        file.position = -1
        result = self.make()
        if self.method is file.seek_method:
            if file.is_text:
                file.can_tell = not file.is_lent
            elif file.can_track:
                file.position = result
        return result

    cdef object make(self):
        if self.count == 0:
            return self.method()
        if self.count == 1:
            return self.method(self.first)
        return self.method(self.first, self.second)

    cdef int check_made(self) except -1:
        if self.file is None:
            raise RuntimeError("this is no call of a file. Call the methods of an AsyncFile.")
        return 0

    # ---- in the thread

    def made_in_thread(self):
        """Make the call where it may wait."""
        self.check_made()
        self.file.go_back_to_line()
        if self.place is not None:
            self.file.below.seek(self.place)
        if self.name == "readlines":
            self.file.note_iteration()
        if self.kind != FILLING:
            return self.make()
        # Not into the buffer itself: a read that was cancelled goes on in its thread.
        own = bytearray(self.room())
        return own, self.method(own)

    def drained(self):
        """Hand over what could not be taken at once."""
        self.check_made()
        if self.file.cache is not None:
            self.file.cache.drain()
        return self.result

    # ---- into a buffer

    cdef Py_ssize_t room(self) except -1:
        with memoryview(self.first) as view:
            if view.readonly:
                raise TypeError(
                    f"{self.name}() argument must be read-write bytes-like object, not "
                    f"{type(self.first).__name__}. Give it a bytearray."
                )
            return view.nbytes

    cdef object taken(self, object value):
        if self.kind != FILLING:
            return value
        own, count = value
        if count:
            with memoryview(self.first) as view, view.cast("B") as target:
                target[:count] = memoryview(own)[:count]
        return count


@cython.final
cdef class PlainCall(Call):
    """One that is nothing more."""

    def __cinit__(self):
        self.spares = &spare_calls


cdef Call plain_call(OpenFile file, str name, int kind, int count, object first, object method):
    cdef Call made = <Call>spare_or_new(&spare_calls)
    made.file = file
    made.name = name
    made.kind = kind
    made.count = count
    made.first = first
    made.method = method
    made.is_paused = made.is_draining = False
    made.stage = FRESH
    return made


@cython.final
cdef class NextLine(Call):
    """`readline` without a limit, and a step of `async for`."""

    cdef object begin(self):
        if self.file.turns.busy or not self.file.has_line():
            return Call.begin(self)
        return self.finish(self.file.take_line())

    cdef object attempt(self):
        cdef OpenFile file = self.file
        if not file.can_read:
            raise WouldWait
        if not file.has_line():
            file.position = -1
            self.place = file.start_of_lines()
            try:
                file.read_lines_ahead(self.place)
            except Exception:
                # One of them cannot be had. The thread finds out which.
                raise WouldWait
        return self.taken(None)

    def made_in_thread(self):
        """Read the next line where it may wait, and more with it."""
        cdef OpenFile file = self.file
        self.check_made()
        if file.cache is None or file.cache.fd < 0 or not file.can_read:
            return self.made_plainly()
        if self.place is not None:
            file.below.seek(self.place)
        elif not file.has_line():
            try:
                self.place = file.start_of_lines()
            except WouldWait:
                return self.made_plainly()  # there is no place to come back to
        else:
            return None
        try:
            file.read_lines_ahead(self.place)
        except Exception:
            # One of them cannot be had. Those before it can.
            file.forget_lines()
            file.below.seek(self.place)
            return self.made_plainly()
        return None

    cdef object made_plainly(self):
        self.is_plain = True
        return self.file.below.readline()

    cdef object taken(self, object value):
        line = value if self.is_plain else self.file.take_line()
        if self.is_step and not line:
            raise StopAsyncIteration
        return line


@cython.final
cdef class Positional(Coroutine):
    """`read_at` and `write_at`."""

    cdef str qualified_name(self):
        return "AsyncFile.write_at" if self.writes else "AsyncFile.read_at"

    cdef object begin(self):
        cdef OpenFile file = self.file
        if file._closing is not None or file.below.closed:
            error = ValueError("I/O operation on closed file.")
            advise(error)
            raise error
        # From now on the file is not closed before this has ended.
        file._positional += 1
        if is_time_to_pause():
            self.is_paused = True
            return self.pause()
        return self.go()

    cdef object resume(self, object value):
        if self.is_paused:
            self.is_paused = False
            return self.go()
        return self.finish(value)

    cdef object fail(self, object exception):
        if self.is_paused:
            self.file.positional_ended()
        elif self.is_submitted:
            advise(exception)
        raise exception

    cdef object go(self):
        cdef OpenFile file = self.file
        cdef CachedFile cache = file.cache
        try:
            if cache is not None and self.writes:
                if write_at_now(cache, self.what, self.offset):
                    file.positional_ended()
                    return self.finish(PyBytes_GET_SIZE(self.what))
                waiter = start_write(cache.fd, self.what, self.offset, file.end_positional)
                if waiter is not None:
                    self.is_submitted = True
                    return waiter
            elif cache is not None and cache.reads_cache:
                result = read_at_now(cache.fd, self.what, self.offset)
                if result is not None:
                    file.positional_ended()
                    return self.finish(result)
                waiter = start_read(cache.fd, self.what, self.offset, file.end_positional)
                if waiter is not None:
                    self.is_submitted = True
                    return waiter
            fd = file.below.fileno()
        except BaseException:
            file.positional_ended()
            raise
        function = write_all_at if self.writes else read_all_at
        return Job(function, (fd, self.what, self.offset), file.end_positional).wait()


@cython.final
cdef class Sync(Coroutine):
    """`fsync` and `fdatasync`: a flush in its turn, then the disk, side by side with all else."""

    cdef str qualified_name(self):
        return "AsyncFile." + self.name

    cdef object begin(self):
        cdef OpenFile file = self.file
        if file._closing is not None or file.below.closed:
            error = ValueError("I/O operation on closed file.")
            advise(error)
            raise error
        # From now on the file is not closed before this has ended.
        file._positional += 1
        return file.flush_call()

    cdef object resume(self, object value):
        cdef OpenFile file = self.file
        if self.is_flushed:
            return self.finish(None)
        self.is_flushed = True
        try:
            fd = file.below.fileno()
            if file.cache is not None:
                waiter = start_sync(fd, self.function is SYNC_DATA, file.end_positional)
                if waiter is not None:
                    self.is_submitted = True
                    return waiter
        except BaseException:
            file.positional_ended()
            raise
        return Job(self.function, (fd,), file.end_positional).wait()

    cdef object fail(self, object exception):
        if not self.is_flushed:
            self.file.positional_ended()
        elif self.is_submitted:
            advise(exception)
        raise exception


@cython.final
cdef class Close(Coroutine):
    cdef str qualified_name(self):
        return "AsyncFile.close"

    cdef object begin(self):
        cdef OpenFile file = self.file
        if file.below.closed:
            return self.finish(None)
        if file._closing is None:
            if not file.turns.busy and file._positional == 0 and file.cache is not None:
                if may_close_now(file.cache):
                    file.below.close()
                    return self.finish(None)
            file._closing = Closing(file).begin()
        return asyncio.shield(file._closing)

    cdef object resume(self, object value):
        return self.finish(None)


set_answering(<PyTypeObject *>PlainCall, NULL)
keep_spares(PlainCall, &spare_calls)
set_answering(<PyTypeObject *>NextLine, NULL)
set_answering(<PyTypeObject *>Positional, NULL)
