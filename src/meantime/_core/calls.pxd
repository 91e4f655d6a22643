from cpython.object cimport PyObject, PyTypeObject

cdef extern from "calls.h":
    object take_exception()
    int context_enter "PyContext_Enter"(PyObject *context) noexcept
    # These return NULL with an exception set; the context has been left then, too.
    PyObject *call_and_exit(PyObject *context, PyObject *function, int count, PyObject *first,
                            PyObject *second, PyObject *third) noexcept
    PyObject *call_tuple_and_exit(
        PyObject *context, PyObject *function, PyObject *arguments) noexcept
    object call_in_context(object context, object function, int count, object first, object second)
    bint context_is_empty(object context) noexcept
    bint current_context_is_empty() noexcept

    ctypedef struct PyMethodDef:
        const char *ml_name
        void *ml_meth
        int ml_flags
        const char *ml_doc
    int METH_FASTCALL, METH_KEYWORDS
    int set_fast_method(PyTypeObject *type, PyMethodDef *method) except -1
