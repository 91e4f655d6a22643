from meantime._core.coroutine cimport Coroutine
from meantime.primitives.waiters cimport LoopBound

cdef class Acquirable(LoopBound):
    """What `async with` acquires and releases."""
    # What those two do where no method has been replaced.
    cdef BoundCall entering(self)
    cdef int let_go(self) except -1

cdef class BoundCall(Coroutine):
    """A bound method and, once it has been called, the coroutine. See acquirable.pyx."""
    cdef Acquirable owner
    cdef void *vectorcall
    cdef bint is_called

    cdef object call(self)
    cdef BoundCall another(self)

# Make the objects of a class callable.
cdef int make_callable(type kind) except -1
