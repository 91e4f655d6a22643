/* What stepping a task needs of CPython that Cython has no words for. */
#ifndef MEANTIME_TASKS_H
#define MEANTIME_TASKS_H

#include <Python.h>

#include "calls.h"
#include "kept.h"
#include "methods.h"

/* Throw into a coroutine of any kind. As PyIter_Send. */
static inline PySendResult throw_into(PyObject *coroutine, PyObject *exception, PyObject **result)
{
    static PyObject *name;
    PyObject *error;
    if (name == NULL && (name = PyUnicode_InternFromString("throw")) == NULL)
        return PYGEN_ERROR;
    *result = PyObject_CallMethodOneArg(coroutine, name, exception);
    if (*result != NULL)
        return PYGEN_NEXT;
    if (!PyErr_ExceptionMatches(PyExc_StopIteration))
        return PYGEN_ERROR;
    error = take_exception();
    *result = PyObject_GetAttrString(error, "value");
    Py_DECREF(error);
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

/* Return what a future that is done raises, or None. No traceback is written on it. */
static inline PyObject *failure_of(DirectMethod *result, PyObject *future, int is_of_asyncio)
{
    static PyObject *name;
    PyObject *got;
    if (name == NULL && (name = PyUnicode_InternFromString("result")) == NULL)
        return NULL;
    got = is_of_asyncio ? call_direct(result, future) : PyObject_CallMethodNoArgs(future, name);
    if (got == NULL)
        return take_exception();
    Py_DECREF(got);
    return Py_NewRef(Py_None);
}

typedef PyMethodDef BuiltinMethod;

/* The C function of a method that C code made for an object, or NULL. */
static inline BuiltinMethod *builtin_method(PyObject *method)
{
    if (!PyCFunction_CheckExact(method) || (PyCFunction_GET_FLAGS(method) & METH_METHOD))
        return NULL;
    return ((PyCFunctionObject *)method)->m_ml;
}

/* ---- being asyncio's coroutine, for the last step: without a traceback entry of its own */

typedef PyObject *(*EndingOf)(PyObject *driver);
static EndingOf ending_of;

static PySendResult send_ending(PyObject *driver, PyObject *value, PyObject **result)
{
    PyObject *exception = ending_of(driver);
    *result = NULL;
    if (exception != NULL) {
        put_exception(exception);
        Py_DECREF(exception);
    }
    return PYGEN_ERROR;
}

static inline void set_driver_slots(PyTypeObject *type, EndingOf function)
{
    static PyAsyncMethods methods = {.am_send = send_ending};
    ending_of = function;
    type->tp_as_async = &methods;
    keep_memory(type);
}

#endif
