/* What a native coroutine needs of CPython that Cython has no words for. */
#ifndef MEANTIME_COROUTINE_H
#define MEANTIME_COROUTINE_H

#include <Python.h>
#include <frameobject.h>
#include <string.h>

#include "calls.h"

/* ---- being driven
 *
 * Tasks and compiled code step a coroutine by am_send, which hands results over as they are. The
 * interpreter's own await goes through tp_iternext, which can only end with StopIteration, or with
 * no exception at all for None.
 */
static sendfunc coroutine_send;

static inline PyObject *stop_with(PyObject *value)
{
    if (value == Py_None) {
        Py_DECREF(value);
        return NULL;
    }
#if PY_VERSION_HEX >= 0x030C0000
    /* Whoever drives a coroutine by its slot reads `value` and drops the exception, so it is made
     * without the tuple of its arguments. */
    PyTypeObject *type = (PyTypeObject *)PyExc_StopIteration;
    PyObject *none = PyTuple_New(0);
    PyObject *stop = none == NULL ? NULL : type->tp_new(type, none, NULL);
    Py_XDECREF(none);
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

static PyObject *coroutine_iternext(PyObject *self)
{
    PyObject *result = NULL;
    switch (coroutine_send(self, Py_None, &result)) {
    case PYGEN_NEXT:
        return result;
    case PYGEN_RETURN:
        return stop_with(result);
    default:
        return NULL;
    }
}

/* ---- memory: what has ended is kept for the next one of the same size */

#define KEPT_SIZES 32
#define KEPT_MAX 8192

static struct {
    PyObject *first;
    int count;
} kept[KEPT_SIZES];

#define KEPT_NEXT(object) (*(PyObject **)((object) + 1))

static inline size_t kept_index(PyTypeObject *type)
{
    return (size_t)type->tp_basicsize / sizeof(void *);
}

static PyObject *coroutine_alloc(PyTypeObject *type, Py_ssize_t count)
{
#ifndef Py_GIL_DISABLED
    size_t index = kept_index(type);
    if (index < KEPT_SIZES && kept[index].first != NULL) {
        PyObject *object = kept[index].first;
        kept[index].first = KEPT_NEXT(object);
        kept[index].count--;
        /* The collector's two words in front, too: they remember that the last one here was
         * finalized. */
        memset((void **)object - 2, 0, (size_t)type->tp_basicsize + 2 * sizeof(void *));
        PyObject_Init(object, type);
        PyObject_GC_Track(object);
        return object;
    }
#endif
    return PyType_GenericAlloc(type, count);
}

static void coroutine_free(void *memory)
{
#ifndef Py_GIL_DISABLED
    PyObject *object = (PyObject *)memory;
    size_t index = kept_index(Py_TYPE(object));
    if (index < KEPT_SIZES && kept[index].count < KEPT_MAX) {
        KEPT_NEXT(object) = kept[index].first;
        kept[index].first = object;
        kept[index].count++;
        return;
    }
#endif
    PyObject_GC_Del(memory);
}

/* Before any class inherits from it: what is set here is handed down. */
static inline void set_coroutine_slots(PyTypeObject *type, sendfunc send)
{
    coroutine_send = send;
    type->tp_as_async->am_send = send;
    type->tp_iternext = coroutine_iternext;
    type->tp_alloc = coroutine_alloc;
    type->tp_free = coroutine_free;
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

/* ---- awaiting something else */

/* Return the iterator of an awaitable, as `await` would; a new reference. */
static inline PyObject *iterator_of(PyObject *awaitable)
{
    PyAsyncMethods *methods = Py_TYPE(awaitable)->tp_as_async;
    PyObject *iterator;
    if (PyCoro_CheckExact(awaitable))
        return Py_NewRef(awaitable);
    if (PyGen_CheckExact(awaitable)) {
        /* One by types.coroutine is awaited as it is. */
#if PY_VERSION_HEX >= 0x030C0000
        PyCodeObject *code = PyGen_GetCode((PyGenObject *)awaitable);
#else
        PyCodeObject *code = (PyCodeObject *)Py_NewRef(((PyGenObject *)awaitable)->gi_code);
#endif
        int is_coroutine = code->co_flags & CO_ITERABLE_COROUTINE;
        Py_DECREF(code);
        if (is_coroutine)
            return Py_NewRef(awaitable);
    }
    if (methods == NULL || methods->am_await == NULL) {
        PyErr_Format(PyExc_TypeError, "object %.100s can't be used in 'await' expression",
                     Py_TYPE(awaitable)->tp_name);
        return NULL;
    }
    iterator = methods->am_await(awaitable);
    if (iterator != NULL && (PyCoro_CheckExact(iterator) || !PyIter_Check(iterator))) {
        PyErr_Format(PyExc_TypeError, "__await__() returned %s of type '%.100s'",
                     PyCoro_CheckExact(iterator) ? "a coroutine" : "a non-iterator",
                     Py_TYPE(iterator)->tp_name);
        Py_CLEAR(iterator);
    }
    return iterator;
}

#define own_result(result) (result)

/* ---- being looked at */

static inline PyObject *empty_code(const char *file, const char *function)
{
    return (PyObject *)PyCode_NewEmpty(file, function, 1);
}

/* A frame that never runs, for those who show where a task waits. */
static inline PyObject *idle_frame(PyObject *code, PyObject *globals)
{
    return (PyObject *)PyFrame_New(PyThreadState_Get(), (PyCodeObject *)code, globals, NULL);
}

/* Give a function that Cython compiled another code object to show. Its own says nothing of what it
 * returns, and inspect.iscoroutinefunction reads it there. */
#define show_code(function, code) \
    Py_XSETREF(((__pyx_CyFunctionObject *)(function))->func_code, Py_NewRef(code))

#endif
