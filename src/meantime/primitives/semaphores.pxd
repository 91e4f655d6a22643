from meantime.primitives.acquirable cimport Acquirable

cdef class Semaphore(Acquirable):
    cdef public object _waiters   # None until somebody has to wait
    cdef public object _value     # any number: there are programs that give an infinite one
    cdef bint takes_one(self) except -1
    cdef bint must_wait(self) except -1
    cdef bint wake_next(self) except -1
    cdef int wake_allowed(self) except -1

cdef class BoundedSemaphore(Semaphore):
    cdef public object _bound_value
