from cpython.object cimport PyObject

cdef extern from *:
    """
    static inline PyObject *tracked(PyObject *object)
    {
        PyObject_GC_Track(object);
        return object;
    }
    """
    object tracked(PyObject *spare)

cdef enum Stage:
    ENDED                         # returned, raised or was closed. So is what nobody set up.
    FRESH                         # waits for its first step. Who makes one puts it here.
    RUNNING
    SUSPENDED

cdef enum:
    SPARES_MAX = 16

ctypedef struct Spares:
    # Ended coroutines of one class, kept as they are for the next ones.
    PyObject *kind
    void (*dealloc)(PyObject *coroutine) noexcept
    int count
    PyObject *kept[SPARES_MAX]

cdef class Coroutine:
    """One call of a compiled async function. See coroutine.pyx."""
    cdef Stage stage
    cdef Spares *spares           # of its class, which sets it in __cinit__, or NULL
    cdef object awaited           # the iterator that it is suspended in; None after a bare yield
    cdef object value             # its result

    # What a concrete class says. Each returns what `pause` or `finish` returned, or an awaitable.
    cdef object begin(self)
    cdef object resume(self, object value)
    cdef object fail(self, object exception)
    cdef str qualified_name(self)

    # What it says it with.
    cdef inline object finish(self, object value):
        """End with this result."""
        self.value = value
        self.stage = ENDED
        return None

    cdef inline object pause(self):
        """Give way to the loop for one turn, as `sleep(0)` does; then `resume(None)` is called."""
        return None

    # Being driven, by the base.
    cdef int step(self, object sent, PyObject **result) except -1
    cdef int proceed(self, object awaitable, PyObject **result) except -1
    cdef int thrown(self, object exception, PyObject **result) except -1
    cdef int end_by_error(self) except -1
    cdef object drive(self, object sent, PyObject **result)
    cdef object fail_handling(self, object exception)
    cdef object throw_into_awaited(self, object exception, PyObject **result)
    cdef int check_may_step(self) except -1

# Make inspect and asyncio take a compiled function for a coroutine function. It must be one with
# binding, or a class's method. Returns it.
cdef object mark_coroutine_function(object function)

# Let the objects of a class begin untracked by the garbage collector. Who makes one tracks it as
# soon as it refers to what may refer back.
cdef int track_by_hand(type kind) except -1

# Keep coroutines of a class that have ended, for those that are made and dropped all the time. It
# must be final, and what its objects refer to be objects that the collector visits.
cdef int keep_spares(type kind, Spares *spares) except -1

cdef inline object spare_or_new(Spares *spares):
    """Return a spare one, as its last use has left its C fields, or a new one."""
    cdef type kind
    if spares.count > 0:
        spares.count -= 1
        return tracked(spares.kept[spares.count])
    kind = <type>spares.kind
    return kind.__new__(kind)
