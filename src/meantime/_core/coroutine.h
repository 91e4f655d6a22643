/* What a native coroutine needs of CPython that Cython has no words for. */
#ifndef MEANTIME_COROUTINE_H
#define MEANTIME_COROUTINE_H

#include <Python.h>
#include <frameobject.h>

#include "calls.h"
#include "kept.h"
#include "stopping.h"

/* ---- being driven
 *
 * Tasks and compiled code step a coroutine by am_send, which hands results over as they are. The
 * interpreter's own await goes through tp_iternext.
 */
static sendfunc coroutine_send;

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

/* ---- its end
 *
 * What has ended needs no finalizer. The interpreter notes in the word before an object that it has
 * been finalized, and where the self-test finds the note there, it is made at the end.
 */
#ifdef Py_GIL_DISABLED
#define needs_no_finalizer(object)
#define drop_finalizer_note(object)
#define find_finalizer_note(object)
#else
static uintptr_t finalizer_note;

static inline void needs_no_finalizer(PyObject *object)
{
    ((uintptr_t *)object)[-1] |= finalizer_note;
}

static inline void drop_finalizer_note(PyObject *object)
{
    ((uintptr_t *)object)[-1] &= ~finalizer_note;
}

static inline void find_finalizer_note(PyObject *object)
{
    int before = PyObject_GC_IsFinalized(object);
    uintptr_t found = ((uintptr_t *)object)[-1];
    ((uintptr_t *)object)[-1] |= 1;
    if (!before && PyObject_GC_IsFinalized(object))
        finalizer_note = 1;
    ((uintptr_t *)object)[-1] = found;
}
#endif

/* ---- those that are used again, see coroutine.pyx */
#define is_final(type) (!PyType_HasFeature(type, Py_TPFLAGS_BASETYPE))
#define dealloc_of(type) ((type)->tp_dealloc)
#define set_dealloc(type, function) ((type)->tp_dealloc = (destructor)(function))

/* Bring an object back whose last reference is gone, without what it referred to. */
static inline void bring_back_empty(PyObject *object)
{
    _Py_NewReference(object);
    forget_value();
    Py_TYPE(object)->tp_clear(object);
}

static void coroutine_free(void *memory)
{
    forget_value();
    kept_free(memory);
}

#define leave_untracked(type) ((type)->tp_alloc = kept_alloc_untracked)

/* Before any class inherits from it: what is set here is handed down. */
static inline void set_coroutine_slots(PyTypeObject *type, sendfunc send)
{
    coroutine_send = send;
    type->tp_as_async->am_send = send;
    type->tp_iternext = coroutine_iternext;
    keep_memory(type);
    type->tp_free = coroutine_free;
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
