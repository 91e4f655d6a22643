from cpython.object cimport PyObject, PyTypeObject

cdef extern from "counters.h":
    const bint COUNTING           # whether this build counts; a constant of the C compiler
    ctypedef void (*counted_end)(PyObject *owner) noexcept
    void count_instances(
        PyTypeObject *type, Py_ssize_t *counter, counted_end before_end) noexcept

cdef struct Counts:
    Py_ssize_t loops
    Py_ssize_t handles
    Py_ssize_t transports
    Py_ssize_t rings
    Py_ssize_t watched            # descriptors with a watcher, over all pollers
    Py_ssize_t requests           # poll requests whose last answer has not been seen, on all rings
    Py_ssize_t abandoned          # of those, the ones that were left when their ring was closed
    Py_ssize_t gathered           # transports that are to send at the end of the turn
    Py_ssize_t queued_bytes       # written, and neither sent nor dropped

cdef Counts counts
