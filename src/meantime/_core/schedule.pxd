from cpython.object cimport PyObject

from meantime._core.loop cimport Loop
from meantime._core.ready cimport Handle

cdef class SchedulingLoop(Loop):
    cdef int fill(self, Handle handle, str method, PyObject *callback, PyObject **arguments,
                  Py_ssize_t count, PyObject *context) except -1
    cdef int check_call(self, object callback, str method) except -1
    cdef object oversee(self, object task)
