/* Handing the result of an await over without making an object for it.
 *
 * The interpreter steps what is awaited by tp_iternext, and a result can leave there only in a
 * StopIteration. It takes the value out and drops the exception at once, so one exception serves
 * for all, as long as nobody else holds it and nothing was hung on it. It keeps its last value
 * alive, so it is used for small ones only. */
#ifndef MEANTIME_ANSWERS_H
#define MEANTIME_ANSWERS_H

#include <Python.h>

#include "calls.h"

enum { ANSWER_KEPT_MAX = 1 << 16 };

typedef PyObject *(*answer_next)(PyObject *);

#if PY_VERSION_HEX >= 0x030C0000

static PyStopIterationObject *kept_answer;

static inline int answer_is_small(PyObject *value)
{
    if (PyBytes_CheckExact(value))
        return PyBytes_GET_SIZE(value) <= ANSWER_KEPT_MAX;
    if (PyUnicode_CheckExact(value))
        return PyUnicode_GET_LENGTH(value) <= ANSWER_KEPT_MAX / 4;
    return PyLong_CheckExact(value);
}

static inline int answer_is_free(PyStopIterationObject *stop)
{
    return stop != NULL && Py_REFCNT(stop) == 1 && stop->dict == NULL && stop->notes == NULL
           && stop->traceback == NULL && stop->context == NULL && stop->cause == NULL;
}

/* End an await with a value, whose reference is taken. Returns NULL. */
static inline PyObject *answer_with(PyObject *value)
{
    PyTypeObject *type = (PyTypeObject *)PyExc_StopIteration;
    PyStopIterationObject *stop;
    PyObject *none;
    int is_small = answer_is_small(value);
    if (value == Py_None) {
        Py_DECREF(value);
        return NULL;
    }
    if (is_small && answer_is_free(kept_answer)) {
        stop = (PyStopIterationObject *)Py_NewRef((PyObject *)kept_answer);
        Py_XSETREF(stop->value, value);
        PyErr_SetRaisedException((PyObject *)stop);
        return NULL;
    }
    none = PyTuple_New(0);
    stop = none == NULL ? NULL : (PyStopIterationObject *)type->tp_new(type, none, NULL);
    Py_XDECREF(none);
    if (stop == NULL) {
        Py_DECREF(value);
        return NULL;
    }
    Py_XSETREF(stop->value, value);
    if (is_small)
        Py_XSETREF(kept_answer, (PyStopIterationObject *)Py_NewRef((PyObject *)stop));
    PyErr_SetRaisedException((PyObject *)stop);
    return NULL;
}

#else

static inline PyObject *answer_with(PyObject *value)
{
    if (value == Py_None)
        Py_DECREF(value);
    else if (PyTuple_Check(value) || PyExceptionInstance_Check(value)) {
        PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, value);
        Py_DECREF(value);
        if (stop != NULL)
            PyErr_Restore(Py_NewRef(PyExc_StopIteration), stop, NULL);
    } else
        PyErr_Restore(Py_NewRef(PyExc_StopIteration), value, NULL);
    return NULL;
}

#endif

/* tp_iternext of a coroutine, by its am_send. */
static PyObject *answering_next(PyObject *self)
{
    PyObject *result = NULL;
    switch (Py_TYPE(self)->tp_as_async->am_send(self, Py_None, &result)) {
    case PYGEN_NEXT:
        return result;
    case PYGEN_RETURN:
        return answer_with(result);
    default:
        return NULL;
    }
}

static inline void set_answering(PyTypeObject *type, answer_next next)
{
    type->tp_iternext = next != NULL ? next : answering_next;
}

/* A class made in Python finds the slots of iteration by a look-up, each time. */
static inline void hand_down_iteration(PyTypeObject *base, PyTypeObject *type)
{
    type->tp_as_async->am_aiter = base->tp_as_async->am_aiter;
    type->tp_as_async->am_anext = base->tp_as_async->am_anext;
}

#endif
