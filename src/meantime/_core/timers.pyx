"""Timers: a heap ordered by due time, on the clock of `loop.time()`.

A cancelled timer stays where it is, marked, and is dropped when its turn comes: cancelling costs
the same however many timers there are. So that memory stays bounded, the heap is rebuilt without
them once they are more than half of it.
"""
import asyncio

from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport INFINITY
from libc.stdlib cimport free, malloc, realloc

from meantime._core.garbage cimport (
    GC_CLEAR_OF,
    GC_SET_CLEAR,
    GC_SET_TRAVERSE,
    GC_TRAVERSE_OF,
    inquiry,
    traverseproc,
    visitproc,
)
from meantime._core.ready cimport Handle, Queue, own_reference

cdef enum:
    # Rebuilding a small heap is not worth the walk.
    CANCELLED_MIN = 100

cdef object TIMER_HANDLE_FACE = asyncio.TimerHandle


cdef class TimerHandle(Handle):
    """A callback that will run at a time; what `call_later` and `call_at` return.

    It stands in for `asyncio.TimerHandle`: `isinstance(handle, asyncio.TimerHandle)` is true.
    """

    @property
    def __class__(self):
        return TIMER_HANDLE_FACE

    def when(self):
        """Return the due time in seconds, on the clock of `loop.time()`."""
        return self.when_s

    def cancel(self):
        """Do not run the callback. Does nothing once it has run or was cancelled."""
        cdef bint is_first = self.scheduled and not self.is_cancelled
        Handle.cancel(self)
        if is_first:
            self.loop.timer_was_cancelled()

    @property
    def _when(self):
        return self.when_s

    @property
    def _scheduled(self):
        return self.scheduled

    def _is_timer(self):
        return True

    def __hash__(self):
        return hash(self.when_s)

    def __eq__(self, other):
        if self is other:
            return True
        if not isinstance(other, TimerHandle):
            return NotImplemented
        return (
            self.when_s == other.when()
            and self.callback == (<TimerHandle>other).callback
            and self.arguments() == (<TimerHandle>other).arguments()
            and self.is_cancelled == (<TimerHandle>other).is_cancelled
        )

    def __lt__(self, other):
        return self.when_s < other.when()

    def __le__(self, other):
        return self.when_s <= other.when()

    def __gt__(self, other):
        return self.when_s > other.when()

    def __ge__(self, other):
        return self.when_s >= other.when()


cdef inline bint is_before(Timer *one, Timer *other) noexcept:
    if one.when_s != other.when_s:
        return one.when_s < other.when_s
    return one.number < other.number


cdef class Timers:
    """The timers of one loop."""

    def __dealloc__(self):
        self.clear()
        free(self.heap)

    cdef int push(self, TimerHandle handle, double when_s) except -1:
        """Keep `handle` until `when_s`."""
        cdef Py_ssize_t room
        cdef Timer *heap
        if self.count == self.room:
            room = max(64, self.room * 2)
            heap = <Timer *>realloc(self.heap, room * sizeof(Timer))
            if heap == NULL:
                raise MemoryError()
            self.heap = heap
            self.room = room
        Py_INCREF(handle)
        handle.when_s = when_s
        handle.scheduled = True
        self.made += 1
        self.heap[self.count] = Timer(when_s, self.made, <PyObject *>handle)
        self.count += 1
        self.sift_up(self.count - 1)
        return 0

    cdef int release_due(self, double now_s, Queue ready) except -1:
        """Move the timers that are due to `ready`, in their order. None is moved early."""
        cdef TimerHandle handle
        while self.count and self.heap[0].when_s <= now_s:
            handle = self.pop()
            if handle.is_cancelled:
                self.cancelled -= 1
            else:
                ready.push(handle)
        return 0

    cdef double next_s(self):
        """Return when the next timer is due; infinity when there is none."""
        while self.count and (<TimerHandle>self.heap[0].handle).is_cancelled:
            self.pop()
            self.cancelled -= 1
        return self.heap[0].when_s if self.count else INFINITY

    cdef void count_cancelled(self):
        self.cancelled += 1
        if self.cancelled > CANCELLED_MIN and self.cancelled * 2 > self.count:
            self.compact()

    cdef TimerHandle pop(self):
        cdef PyObject *handle = self.heap[0].handle
        self.count -= 1
        if self.count:
            self.heap[0] = self.heap[self.count]
            self.sift_down(0)
        (<TimerHandle>handle).scheduled = False
        return <TimerHandle>own_reference(handle)

    cdef void sift_up(self, Py_ssize_t index) noexcept:
        cdef Timer moved = self.heap[index]
        cdef Py_ssize_t parent
        while index:
            parent = (index - 1) >> 2
            if not is_before(&moved, &self.heap[parent]):
                break
            self.heap[index] = self.heap[parent]
            index = parent
        self.heap[index] = moved

    cdef void sift_down(self, Py_ssize_t index) noexcept:
        cdef Timer moved = self.heap[index]
        cdef Py_ssize_t child, least, end
        while True:
            child = index * 4 + 1
            if child >= self.count:
                break
            least = child
            end = min(child + 4, self.count)
            for child in range(child + 1, end):
                if is_before(&self.heap[child], &self.heap[least]):
                    least = child
            if not is_before(&self.heap[least], &moved):
                break
            self.heap[index] = self.heap[least]
            index = least
        self.heap[index] = moved

    cdef int compact(self) except -1:
        """Drop the cancelled ones."""
        cdef Py_ssize_t index, kept = 0, dropped = 0
        cdef PyObject **dead = <PyObject **>malloc(self.count * sizeof(PyObject *))
        if dead == NULL:
            return 0  # They are dropped one by one, when their time comes.
        for index in range(self.count):
            if (<TimerHandle>self.heap[index].handle).is_cancelled:
                dead[dropped] = self.heap[index].handle
                (<TimerHandle>self.heap[index].handle).scheduled = False
                dropped += 1
            else:
                self.heap[kept] = self.heap[index]
                kept += 1
        self.count = kept
        self.cancelled = 0
        for index in range((kept - 2) >> 2, -1, -1):
            self.sift_down(index)
        # Freed only now, with the heap in order: a destructor may set or cancel timers.
        for index in range(dropped):
            Py_DECREF(<object>dead[index])
        free(dead)
        return 0

    cdef void clear(self):
        while self.count:
            self.pop()
        self.cancelled = 0


cdef int visit_timers(PyObject *owner, visitproc visit, void *argument) noexcept:
    cdef int result = timers_traverse(owner, visit, argument)
    cdef Py_ssize_t index
    for index in range((<Timers>owner).count):
        if result:
            break
        result = visit((<Timers>owner).heap[index].handle, argument)
    return result


cdef int clear_timers(PyObject *owner) noexcept:
    (<Timers>owner).clear()
    return timers_clear(owner)


cdef traverseproc timers_traverse = GC_TRAVERSE_OF(<PyTypeObject *>Timers)
cdef inquiry timers_clear = GC_CLEAR_OF(<PyTypeObject *>Timers)
GC_SET_TRAVERSE(<PyTypeObject *>Timers, visit_timers)
GC_SET_CLEAR(<PyTypeObject *>Timers, clear_timers)
