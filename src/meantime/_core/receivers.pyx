# cython: binding=True
"""Methods that refuse an object of another kind, where Cython's would take it for one of theirs.

Only methods with `binding` need it, which those of coroutine functions are; all others are method
descriptors of the interpreter, which look by themselves.
"""
from cpython.object cimport PyTypeObject

cdef extern from "receivers.h":
    int check_receiver_of(object function, PyTypeObject *type) except -1

cdef type Function


def check_receivers(dict names not None):
    """Have the methods of a compiled module's classes look at what they are called on.

    Args:
        names: the module's `globals()`, when its classes are complete.
    """
    module = names["__name__"]
    for kind in names.values():
        if not isinstance(kind, type) or kind.__module__ != module:
            continue
        for function in vars(kind).values():
            if type(function) is Function:
                check_receiver_of(function, <PyTypeObject *>kind)


Function = type(check_receivers)
