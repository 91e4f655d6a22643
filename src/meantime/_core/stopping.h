/* Ending an iteration with a result, without making an exception for it.
 *
 * The interpreter steps what is awaited by tp_iternext, and a result can leave there only in a
 * StopIteration, or, if it is None, with no exception at all.
 */
#ifndef MEANTIME_STOPPING_H
#define MEANTIME_STOPPING_H

#include <Python.h>

#if PY_VERSION_HEX >= 0x030C0000
/* Whoever steps an iterator by its slot reads `value` and drops the exception. So one exception
 * serves again and again, as long as nobody has kept it or written anything on it. It has no tuple
 * of arguments. */
static PyObject *kept_stop;

static inline PyObject *unused_stop(void)
{
    PyTypeObject *type = (PyTypeObject *)PyExc_StopIteration;
    PyStopIterationObject *old = (PyStopIterationObject *)kept_stop;
    PyObject *nothing;
    if (old != NULL && Py_REFCNT(old) == 1 && old->dict == NULL && old->notes == NULL
        && old->traceback == NULL && old->context == NULL && old->cause == NULL)
        return Py_NewRef(kept_stop);
    nothing = PyTuple_New(0);
    if (nothing == NULL)
        return NULL;
    Py_XSETREF(kept_stop, type->tp_new(type, nothing, NULL));
    Py_DECREF(nothing);
    return Py_XNewRef(kept_stop);
}

/* The value is not to live longer than the coroutine that returned it. */
static inline void forget_value(void)
{
    if (kept_stop != NULL && Py_REFCNT(kept_stop) == 1)
        Py_CLEAR(((PyStopIterationObject *)kept_stop)->value);
}

/* A value that is too large to be kept takes the exception with it. */
static inline void forget_stop(void)
{
    Py_CLEAR(kept_stop);
}
#else
#define forget_value()
#define forget_stop()
#endif

/* Raise StopIteration with a value, whose reference is taken. Returns NULL. */
static inline PyObject *stop_with(PyObject *value)
{
    if (value == Py_None) {
        Py_DECREF(value);
        return NULL;
    }
#if PY_VERSION_HEX >= 0x030C0000
    PyObject *stop = unused_stop();
    if (stop == NULL) {
        Py_DECREF(value);
        return NULL;
    }
    Py_XSETREF(((PyStopIterationObject *)stop)->value, value);
    PyErr_SetRaisedException(stop);
#else
    if (PyTuple_Check(value) || PyExceptionInstance_Check(value)) {
        /* As they are, these would be taken for the arguments, or for the exception itself. */
        PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, value);
        Py_DECREF(value);
        if (stop != NULL)
            PyErr_Restore(Py_NewRef(PyExc_StopIteration), stop, NULL);
        return NULL;
    }
    PyErr_Restore(Py_NewRef(PyExc_StopIteration), value, NULL);
#endif
    return NULL;
}

#endif
