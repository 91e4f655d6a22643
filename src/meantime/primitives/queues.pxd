from meantime.primitives.locks cimport Event
from meantime.primitives.waiters cimport LoopBound

cdef class Queue(LoopBound):
    cdef object items             # what `_queue` is: made by `_init`
    cdef object bound             # what was given as maxsize
    cdef Py_ssize_t limit         # the same as a number; 0 without a bound, -1: ask `bound`
    cdef object getters           # lines of waiters; None until somebody waits or looks
    cdef object putters
    cdef Event finished           # for join; None until somebody joins or looks
    cdef public Py_ssize_t _unfinished_tasks
    cdef public bint _is_shutdown

    # Where items are kept, in what order.
    cdef object first_items(self)
    cdef int add(self, object item) except -1
    cdef object take(self)

    cdef bint is_empty(self) except -1
    cdef bint is_full(self) except -1
    cdef bint has_room_now(self) except -1
    cdef int put_now(self, object item) except -1
    cdef int take_in(self, object item) except -1
    cdef object get_now(self)
    cdef object hand_out(self)
    cdef Event finished_event(self)

cdef class PriorityQueue(Queue):
    pass

cdef class LifoQueue(Queue):
    pass
