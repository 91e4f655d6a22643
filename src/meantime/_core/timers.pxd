from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from meantime._core.ready cimport Handle, Queue

cdef class TimerHandle(Handle):
    pass

cdef struct Timer:
    double when_s
    uint64_t number               # of two timers due at the same time, the earlier made goes first
    PyObject *handle              # a strong reference

cdef class Timers:
    cdef object unused            # makes the type one that the garbage collector visits
    cdef Timer *heap              # four children per node: half the levels, the same cache lines
    cdef readonly Py_ssize_t count
    cdef Py_ssize_t room
    cdef Py_ssize_t cancelled     # how many of them are
    cdef uint64_t made

    cdef int push(self, TimerHandle handle, double when_s) except -1
    cdef int release_due(self, double now_s, Queue ready) except -1
    cdef double next_s(self)
    cdef void count_cancelled(self)
    cdef void clear(self)
    cdef TimerHandle pop(self)
    cdef void sift_up(self, Py_ssize_t index) noexcept
    cdef void sift_down(self, Py_ssize_t index) noexcept
    cdef int compact(self) except -1
