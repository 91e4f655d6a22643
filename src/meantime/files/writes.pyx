"""`write` and `writelines`: small bytes are gathered, a full buffer is written behind the program.

A write that finds room in memory is over at once. When the room is full, the poller writes it, and
the next writes go on into a new one; the file's turn is gone until then for everything else. If it
cannot be written, it is kept, and the next call on the file waits for a second try, whose error it
raises before it has done anything itself.

Python's BufferedWriter does the same with one buffer. It is not asked for small bytes, because its
lock and its checks cost more than the copy. What was gathered goes into it before anything else is
asked of the file.

Most writes of a program that writes small pieces only find room, and end in their first step. What
the interpreter awaits itself takes the shortest way there: `answer_write`.
"""
cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.long cimport PyLong_FromSsize_t
from cpython.object cimport PyObject, PyObject_Size, PyTypeObject
from cpython.ref cimport Py_INCREF

from meantime._core.coroutine cimport ENDED, FRESH, Spares, keep_spares, spare_or_new
from meantime._core.files cimport drain as start_drain
from meantime._core.files cimport operates
from meantime.files.advice import advise
from meantime.files.cached cimport CachedFile, WouldWait
from meantime.files.filecalls cimport BULK, IN_THREAD, WRITING, Call
from meantime.files.openfile cimport OpenFile
from meantime.files.turns cimport is_time_to_pause_after_small, need_not_pause_after_small

cdef extern from "answers.h":
    ctypedef PyObject *(*answer_next)(PyObject *) noexcept
    PyObject *answer_with(PyObject *value) noexcept
    PyObject *answering_next(PyObject *coroutine) noexcept
    void set_answering(PyTypeObject *type, answer_next next) noexcept

cdef Spares spare_writes

cdef enum:
    # More than that is written in a thread. It would be copied once more on the way to one.
    SMALL_BYTES_MAX = 1 << 16
    # How many full buffers may be in line behind the one that is written.
    BEHIND_MAX = 1


@cython.final
cdef class Write(Call):
    def __cinit__(self):
        self.spares = &spare_writes

    cdef object begin(self):
        if self.file.behind is not None and self.may_run_ahead():
            if is_time_to_pause_after_small():
                self.is_giving_way = True
                return self.pause()
            return self.run_ahead()
        return Call.begin(self)

    cdef object resume(self, object value):
        if self.is_making_up:
            self.is_making_up = False
            return self.go()
        if self.is_giving_way:
            self.is_giving_way = False
            return self.begin()
        return Call.resume(self, value)

    cdef object fail(self, object exception):
        if not self.is_making_up:
            return Call.fail(self, exception)
        if self.is_made_up:
            self.file.turns.hand_over()
        else:
            self.is_left = True
        advise(exception)
        raise exception

    cdef object go(self):
        cdef OpenFile file = self.file
        cdef CachedFile cache = file.cache
        if cache is None or cache.fd < 0:
            return Call.go(self)
        if cache.backlog is not None and file.runs_ahead:
            waiter = self.make_up()
            if waiter is not None:
                return waiter
        if self.kind == BULK:
            if operates():
                return self.write_bulk()
            self.kind = IN_THREAD
        elif self.kind == WRITING and self.gather():
            # What is written behind has the turn.
            if file.turns.busy and file.behind is None:
                file.turns.hand_over()
            return self.finish(PyBytes_GET_SIZE(self.first))
        return Call.go(self)

    cdef object drain(self):
        if self.kind == WRITING and self.file.runs_ahead and self.file.drain_behind():
            return self.finish(self.result)
        return Call.drain(self)

    # ---- small ones

    cdef bint gather(self) except -1:
        """Put small bytes with those before. Returns False where it has to be done otherwise."""
        cdef OpenFile file = self.file
        cdef CachedFile cache = file.cache
        if not file.gathers or type(self.first) is not bytes:
            return False
        if self.method is not file.write_method:
            return False
        if cache.gather(self.first):
            return True
        if PyBytes_GET_SIZE(self.first) > cache.gather_bytes_max or not operates():
            return False
        cache.leave_gathered()
        if cache.backlog is not None and file.behind is None:
            file.drain_behind()
        return cache.gather(self.first)

    cdef bint finds_room(self) noexcept:
        """Do all that `begin` would where nothing is in the way, or nothing: then it is False."""
        cdef OpenFile file = self.file
        cdef CachedFile cache = file.cache
        if cache is None or cache.fd < 0 or self.kind != WRITING or not file.gathers:
            return False
        if type(self.first) is not bytes or self.method is not file.write_method:
            return False
        if file.behind is None:
            if file.turns.busy or cache.backlog is not None:
                return False
        elif file.turns.line is not None and PyObject_Size(file.turns.line):
            return False
        if cache.room_left() <= PyBytes_GET_SIZE(self.first) or not need_not_pause_after_small():
            return False
        cache.put(self.first)
        return True

    cdef bint may_run_ahead(self) except -1:
        """Whether this call need not wait for the full buffer that is written just now."""
        cdef OpenFile file = self.file
        return (
            self.kind == WRITING and not file.turns.line and len(file.cache.backlog) <= BEHIND_MAX
        )

    cdef object run_ahead(self):
        """Write into a buffer, or put what was in it in line."""
        cdef OpenFile file = self.file
        cdef CachedFile cache = file.cache
        if self.gather():
            return self.finish(PyBytes_GET_SIZE(self.first))
        file.settle()
        cache.may_wait = False
        try:
            result = self.method(self.first)
        except WouldWait:
            self.waiter = file.turns.ask()
            return self.waiter
        except BaseException as error:
            advise(error)
            raise
        finally:
            cache.may_wait = True
        return self.finish(result)

    # ---- large ones

    cdef object write_bulk(self):
        """Leave behind what is buffered, and then what is to be written.

        That is what Python's buffer does with more than it has room for. But it would be copied.
        """
        cdef OpenFile file = self.file
        cdef CachedFile cache = file.cache
        cache.may_wait = False
        try:
            if cache.gathered_bytes:
                cache.leave_gathered()
            file.below.flush()
        except BaseException as error:
            cache.may_wait = True
            if file.turns.busy:
                file.turns.hand_over()
            advise(error)
            raise
        cache.may_wait = True
        file.buffer_is_empty()
        if cache.backlog is None:
            cache.backlog = []
        cache.backlog.append(self.first)
        self.result = PyBytes_GET_SIZE(self.first)
        return Call.drain(self)

    # ---- after an error

    cdef object make_up(self):
        """Have written first what could not be written behind."""
        cdef OpenFile file = self.file
        file.position = -1
        try:
            waiter = start_drain(file.cache.fd, file.cache.backlog, True, self.made_up)
        except BaseException as error:
            if file.turns.busy:
                file.turns.hand_over()
            advise(error)
            raise
        if waiter is not None:
            file.turns.busy = self.is_making_up = True
        return waiter

    def made_up(self):
        """Note that the second try is over, in the loop's thread."""
        self.check_made()
        self.file.note_drained()
        self.is_made_up = True
        if self.is_left:
            self.file.turns.hand_over()


cdef bint is_small(object data) except -1:
    """Whether writing this takes no time to speak of."""
    if type(data) is bytes:
        return PyBytes_GET_SIZE(data) <= SMALL_BYTES_MAX
    if type(data) is str or type(data) is bytearray:
        return len(data) <= SMALL_BYTES_MAX
    if type(data) is memoryview:
        return data.nbytes <= SMALL_BYTES_MAX
    return False


cdef bint are_small(object lines) except -1:
    cdef Py_ssize_t size = 0
    if type(lines) not in (list, tuple) or len(lines) > SMALL_BYTES_MAX:
        return False
    for line in lines:
        if type(line) not in (bytes, str):
            return False
        size += len(line)
    return size <= SMALL_BYTES_MAX


cdef Call write_call(OpenFile file, str name, object data, object method):
    cdef Write made = <Write>spare_or_new(&spare_writes)
    made.file = file
    made.name = name
    made.kind = WRITING
    if method is not file.write_method:
        made.kind = WRITING if are_small(data) else IN_THREAD
    elif not is_small(data):
        made.kind = BULK if file.has_bulk and type(data) is bytes else IN_THREAD
    made.count = 1
    made.first = data
    made.method = method
    made.is_paused = made.is_draining = False
    made.is_giving_way = made.is_making_up = made.is_made_up = made.is_left = False
    made.stage = FRESH
    return made


cdef PyObject *answer_write(PyObject *write) noexcept:
    cdef Write made = <Write>write
    if made.stage != FRESH or not made.finds_room():
        return answering_next(write)
    made.stage = ENDED
    size = PyLong_FromSsize_t(PyBytes_GET_SIZE(made.first))
    Py_INCREF(size)
    return answer_with(<PyObject *>size)


set_answering(<PyTypeObject *>Write, answer_write)
keep_spares(Write, &spare_writes)
