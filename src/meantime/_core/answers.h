/* Handing the result of an await over to the interpreter.
 *
 * The exception that is kept for it keeps its last value alive, so it is kept for small ones only.
 */
#ifndef MEANTIME_ANSWERS_H
#define MEANTIME_ANSWERS_H

#include <Python.h>

#include "calls.h"
#include "stopping.h"

enum { ANSWER_KEPT_MAX = 1 << 16 };

typedef PyObject *(*answer_next)(PyObject *);

static inline int answer_is_small(PyObject *value)
{
    if (PyBytes_CheckExact(value))
        return PyBytes_GET_SIZE(value) <= ANSWER_KEPT_MAX;
    if (PyUnicode_CheckExact(value))
        return PyUnicode_GET_LENGTH(value) <= ANSWER_KEPT_MAX / 4;
    return value == Py_None || PyLong_CheckExact(value);
}

/* End an await with a value, whose reference is taken. Returns NULL. */
static inline PyObject *answer_with(PyObject *value)
{
    int is_small = answer_is_small(value);
    stop_with(value);
    if (!is_small)
        forget_stop();
    return NULL;
}

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
