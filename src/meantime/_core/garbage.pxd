"""Lets Python's garbage collector see references that are kept in C arrays."""
from cpython.object cimport PyObject, PyTypeObject

ctypedef int (*visitproc)(PyObject *item, void *argument) noexcept
ctypedef int (*traverseproc)(PyObject *owner, visitproc visit, void *argument) noexcept
ctypedef int (*inquiry)(PyObject *owner) noexcept

# Cython writes tp_traverse and tp_clear for `object` fields only. A class with an array of
# references puts its own functions in front, and they call the ones that were there.
cdef extern from *:
    """
    #define GC_TRAVERSE_OF(type) ((type)->tp_traverse)
    #define GC_CLEAR_OF(type) ((type)->tp_clear)
    #define GC_SET_TRAVERSE(type, f) ((type)->tp_traverse = (traverseproc)(f))
    #define GC_SET_CLEAR(type, f) ((type)->tp_clear = (inquiry)(f))
    """
    traverseproc GC_TRAVERSE_OF(PyTypeObject *type) noexcept
    inquiry GC_CLEAR_OF(PyTypeObject *type) noexcept
    void GC_SET_TRAVERSE(PyTypeObject *type, traverseproc function) noexcept
    void GC_SET_CLEAR(PyTypeObject *type, inquiry function) noexcept
