/* Calling Python from the loop: straight through vectorcall, in a given context.
 *
 * Context.run() would do the same by way of an argument tuple and a method call.
 */
#ifndef MEANTIME_CALLS_H
#define MEANTIME_CALLS_H

#include <Python.h>

/* Take the exception that is set, normalised and with its traceback, as a new reference. */
static inline PyObject *take_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
        Py_DECREF(traceback);
    }
    Py_XDECREF(type);
    return value;
#endif
}

/* The counterpart of take_exception. */
static inline void put_exception(PyObject *exception)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(Py_NewRef(exception));
#else
    PyErr_Restore(Py_NewRef(Py_TYPE(exception)), Py_NewRef(exception),
                  PyException_GetTraceback(exception));
#endif
}

/* Leave the context after a call; the call's exception, if any, stays set. */
static inline PyObject *leave_context(PyObject *context, PyObject *result)
{
    if (PyContext_Exit(context) < 0)
        Py_CLEAR(result);
    return result;
}

static inline PyObject *call_and_exit(PyObject *context, PyObject *function, int count,
                                      PyObject *first, PyObject *second, PyObject *third)
{
    PyObject *stack[4] = {NULL, first, second, third};
    return leave_context(context, PyObject_Vectorcall(
        function, stack + 1, (size_t)count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL));
}

static inline PyObject *call_tuple_and_exit(PyObject *context, PyObject *function,
                                            PyObject *arguments)
{
    return leave_context(context, PyObject_CallObject(function, arguments));
}

/* Enter the context, call with up to two arguments, leave it. */
static inline PyObject *call_in_context(PyObject *context, PyObject *function, int count,
                                        PyObject *first, PyObject *second)
{
    if (PyContext_Enter(context) < 0)
        return NULL;
    return call_and_exit(context, function, count, first, second, NULL);
}

/* Whether nothing is set in `context`. */
static inline int context_is_empty(PyObject *context)
{
    return PyObject_Size(context) == 0;
}

/* Whether nothing is set in the context that this thread is in. There is no public way to ask
 * without copying it; the field is the one that PyContext_CopyCurrent reads. */
static inline int current_context_is_empty(void)
{
    PyObject *context = PyThreadState_Get()->context;
    return context == NULL || context_is_empty(context);
}

/* Give an extension type a method that is called without an argument tuple, in place of the one
 * that Cython made. Cython has no way to write such a method with keywords and free positions. */
static inline int set_fast_method(PyTypeObject *type, PyMethodDef *method)
{
    PyObject *descriptor = PyDescr_NewMethod(type, method);
    int result = -1;
    if (descriptor != NULL) {
        result = PyDict_SetItemString(type->tp_dict, method->ml_name, descriptor);
        Py_DECREF(descriptor);
        PyType_Modified(type);
    }
    return result;
}

#endif
