from meantime.primitives.acquirable cimport Acquirable
from meantime.primitives.waiters cimport LoopBound

cdef class Condition(Acquirable):
    cdef public object _lock
    cdef object waiters           # None until somebody waits or looks
    cdef int take(self, object lock) except -1
    cdef int notify_some(self, object count) except -1

cdef class Barrier(LoopBound):
    cdef public object _cond
    cdef public object _parties
    cdef public object _state
    cdef public object _count
