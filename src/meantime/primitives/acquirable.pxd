from meantime._core.coroutine cimport Coroutine, Spares
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

    cdef object call_again(self)
    cdef BoundCall another(self)
    # Try to do all of it in the first step, and return whether that was possible.
    cdef bint ends_at_once(self) except -1

# Make the objects of a final class callable, and keep those that have ended.
cdef int make_bound_call(type kind, Spares *spares) except -1
cdef BoundCall new_call(Spares *spares, Acquirable owner)
