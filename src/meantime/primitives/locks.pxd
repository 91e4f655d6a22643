from meantime.primitives.acquirable cimport Acquirable
from meantime.primitives.waiters cimport LoopBound

cdef class Lock(Acquirable):
    cdef public object _waiters   # None until somebody has to wait
    cdef public bint _locked
    cdef int wake_first(self) except -1

cdef class Event(LoopBound):
    cdef object waiters           # None until somebody waits or looks
    cdef public bint _value
    cdef int raise_flag(self) except -1
    cdef object waiting(self)
