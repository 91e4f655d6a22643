"""How a compiled class shows itself: like its namesake in asyncio, which is written in Python.

The interpreter calls a compiled class by its full name, with the module in front, and Cython speaks
of `__init__()` where Python says `Lock.__init__()`. Programs and tests match on such messages.
"""
import sys

from cpython.object cimport PyObject, PyTypeObject

cdef extern from *:
    """
    static PyAsyncMethods only_await;

    static inline void set_await(PyTypeObject *type, unaryfunc await)
    {
        only_await.am_await = await;
        type->tp_as_async = &only_await;
    }
    #define base_of(type) ((type)->tp_base)
    #define init_of(type) ((type)->tp_init)
    #define set_init(type, init) ((type)->tp_init = (initproc)(init))
    """
    ctypedef object (*unaryfunc)(object)
    ctypedef int (*initproc)(object, PyObject *, PyObject *) except -1
    void set_await(PyTypeObject *type, unaryfunc refuse) noexcept
    initproc init_of(PyTypeObject *type) noexcept
    void set_init(PyTypeObject *type, initproc init) noexcept
    PyTypeObject *Py_TYPE(object) noexcept
    PyTypeObject *base_of(PyTypeObject *type) noexcept

cdef str NOT_AWAITABLE = (
    "'{}' object can't be awaited" if sys.version_info >= (3, 14)
    else "object {} can't be used in 'await' expression"
)


cdef object refuse_await(object owner):
    raise TypeError(NOT_AWAITABLE.format(type(owner).__name__))


cdef int refuse_to_be_awaited(PyTypeObject *type) except -1:
    """Say in the interpreter's words, with the short name, that an object cannot be awaited.

    Only the slot is filled. There is no method `__await__`, so inspect.isawaitable says no.
    """
    set_await(type, refuse_await)
    return 0


cdef enum:
    CLASSES_MAX = 16

cdef struct Class:
    PyTypeObject *type
    initproc init

cdef Class[CLASSES_MAX] classes
cdef int class_count = 0


cdef int name_class_in_errors(PyTypeObject *type) except -1:
    """Put the class's name in front of what `__init__` says of its arguments."""
    global class_count
    assert class_count < CLASSES_MAX
    classes[class_count].type = type
    classes[class_count].init = init_of(type)
    class_count += 1
    set_init(type, init_and_name)
    return 0


cdef int init_and_name(object owner, PyObject *args, PyObject *kwargs) except -1:
    try:
        return init_for(Py_TYPE(owner))(owner, args, kwargs)
    except TypeError as error:
        if not str(error).startswith("__init__()"):
            raise
        message = f"{type(owner).__name__}.{error}"
    raise TypeError(message)


cdef initproc init_for(PyTypeObject *type) noexcept:
    """Return the `__init__` that a class of ours has by itself, or the one it inherited."""
    cdef int index
    while True:
        for index in range(class_count):
            if classes[index].type == type:
                return classes[index].init
        type = base_of(type)
