from cpython.object cimport PyTypeObject

# Let a compiled class speak of itself as a class written in Python does. To be called for the base
# class before others inherit from it, and for each class with an `__init__` to be called.
cdef int refuse_to_be_awaited(PyTypeObject *type) except -1
cdef int name_class_in_errors(PyTypeObject *type) except -1
