"""`async with`: acquiring and releasing locks and semaphores.

The interpreter asks for the bound methods `__aenter__` and `__aexit__` each time, and calls each of
them once. For a lock that nobody else wants, making those two objects and two coroutines would be
most of the work. So here they are one: what `lock.__aenter__` gives is a coroutine that has not
been called yet, and calling it gives itself. A second call of it gives another coroutine, as a
second call of a bound method does.
"""
import inspect

cimport cython
from cpython.object cimport PyObject, PyTypeObject
from cpython.tuple cimport PyTuple_GET_SIZE

from meantime._core.coroutine cimport (
    ENDED,
    FRESH,
    Coroutine,
    Spares,
    keep_spares,
    spare_or_new,
)
from meantime.primitives.waiters cimport LoopBound

cdef extern from *:
    """
    #define next_of(type) ((type)->tp_iternext)
    #define set_next(type, function) ((type)->tp_iternext = (iternextfunc)(function))

    /* Let objects of a type be called without a tuple of arguments, by the function in a field. */
    #define set_vectorcall(type, offset) \\
        ((type)->tp_vectorcall_offset = (offset), \\
         (type)->tp_call = PyVectorcall_Call, \\
         (type)->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL)
    """
    ctypedef PyObject *(*iternextfunc)(PyObject *iterator) except? NULL
    iternextfunc next_of(PyTypeObject *type) noexcept
    void set_next(PyTypeObject *type, iternextfunc function) noexcept
    void set_vectorcall(PyTypeObject *type, Py_ssize_t offset) noexcept
    Py_ssize_t PyVectorcall_NARGS(size_t flagged_count) noexcept

cdef Spares spare_leaves

# How many arguments the interpreter gives to __aexit__.
cdef enum:
    EXIT_ARGUMENTS = 3


cdef class BoundCall(Coroutine):
    def __cinit__(self):
        self.vectorcall = <void *>called

    @property
    def __self__(self):
        return self.owner

    cdef object call_again(self):
        made = self.another()
        made.is_called = True
        made.stage = FRESH
        return made

    cdef BoundCall another(self):
        return new_enter(self.owner)

    cdef bint ends_at_once(self) except -1:
        return False


cdef object called(BoundCall self, PyObject **arguments, size_t flagged_count, PyObject *names):
    cdef Py_ssize_t count = PyVectorcall_NARGS(flagged_count)
    cdef Py_ssize_t expected = EXIT_ARGUMENTS if type(self) is Leave else 0
    if count == expected and names == NULL and not self.is_called:
        self.is_called = True
        self.stage = FRESH
        return self
    if names != NULL:
        count += PyTuple_GET_SIZE(<object>names)
    if count != expected:
        raise TypeError(
            f"{self.qualified_name()}() takes {expected + 1} positional "
            f"argument{'s' if expected else ''} but {count + 1} were given"
        )
    return self.call_again()


cdef PyObject *next_step(PyObject *call) except? NULL:
    """Go on as any coroutine, but for what ends in its first step and returns None.

    What is tried there runs no code of the program's, which could raise StopIteration.
    """
    cdef BoundCall self = <BoundCall>call
    if self.stage == FRESH:
        self.stage = ENDED
        if self.ends_at_once():
            return NULL
        self.stage = FRESH
    return next_of_coroutine(call)


cdef BoundCall new_call(Spares *spares, Acquirable owner):
    """Return one that has not been called."""
    cdef BoundCall made = <BoundCall>spare_or_new(spares)
    made.owner = owner
    made.is_called = False
    return made


cdef int make_bound_call(type kind, Spares *spares) except -1:
    make_callable(kind)
    set_next(<PyTypeObject *>kind, next_step)
    return keep_spares(kind, spares)


cdef int make_callable(type kind) except -1:
    set_vectorcall(<PyTypeObject *>kind, offset_of_vectorcall)
    return 0


# ---- the methods


cdef class AsyncWithMethod:
    """`__aenter__` or `__aexit__` of a class."""
    cdef str name
    cdef readonly object __signature__
    cdef bint enters

    def __cinit__(self, str name not None, *parameters):
        self.name = name
        self.enters = name == "__aenter__"
        self.__signature__ = inspect.Signature([
            inspect.Parameter(parameter, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            for parameter in ("self", *parameters)
        ])

    @property
    def __name__(self):
        return self.name

    def __get__(self, instance, owner):
        return self if instance is None else self.bind(instance)

    def __call__(self, instance, *arguments):
        return self.bind(instance)(*arguments)

    cdef BoundCall bind(self, Acquirable instance):
        if instance is None:
            raise TypeError(f"{self.name}() needs a lock or a semaphore, not None")
        if not self.enters:
            return new_leave(instance)
        return instance.entering() if instance.is_plain() else new_enter(instance)


cdef class Acquirable(LoopBound):
    __aenter__ = AsyncWithMethod("__aenter__")
    __aexit__ = AsyncWithMethod("__aexit__", "exc_type", "exc", "tb")

    cdef BoundCall entering(self):
        return new_enter(self)

    cdef int let_go(self) except -1:
        (<object>self).release()
        return 0


@cython.final
cdef class Enter(BoundCall):
    """Enters what may have an acquire() of its own."""

    cdef str qualified_name(self):
        return f"{type(self.owner).__name__}.__aenter__"

    cdef object begin(self):
        return (<object>self.owner).acquire()

    cdef object resume(self, object value):
        return self.finish(None)


cdef BoundCall new_enter(Acquirable owner):
    cdef Enter made = Enter.__new__(Enter)
    made.owner = owner
    return made


@cython.final
cdef class Leave(BoundCall):
    def __cinit__(self):
        self.spares = &spare_leaves

    cdef str qualified_name(self):
        return f"{type(self.owner).__name__}.__aexit__"

    cdef bint ends_at_once(self) except -1:
        if not self.owner.is_plain():
            return False
        self.owner.let_go()
        return True

    cdef object begin(self):
        if not self.ends_at_once():
            (<object>self.owner).release()
        return self.finish(None)

    cdef BoundCall another(self):
        return new_leave(self.owner)


cdef BoundCall new_leave(Acquirable owner):
    return new_call(&spare_leaves, owner)


cdef iternextfunc next_of_coroutine = next_of(<PyTypeObject *>Coroutine)
cdef BoundCall any_call = BoundCall.__new__(BoundCall)
cdef Py_ssize_t offset_of_vectorcall = (
    <char *>&any_call.vectorcall - <char *><PyObject *>any_call)
make_callable(Enter)
make_bound_call(Leave, &spare_leaves)
