from cpython.object cimport PyObject

cdef enum Stage:
    ENDED                         # returned, raised or was closed. So is what nobody set up.
    FRESH                         # waits for its first step. Who makes one puts it here.
    RUNNING
    SUSPENDED

cdef class Coroutine:
    """One call of a compiled async function. See coroutine.pyx."""
    cdef Stage stage
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
