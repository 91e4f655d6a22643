/* Counting what is alive, in builds made with -Dcounters=true. Elsewhere COUNTING is the constant 0
 * and the compiler leaves out all that stands under it.
 */
#ifndef MEANTIME_COUNTERS_H
#define MEANTIME_COUNTERS_H

#include <Python.h>

#ifdef MEANTIME_COUNTERS
#define COUNTING 1
#else
#define COUNTING 0
#endif

typedef void (*counted_end)(PyObject *object);

/* One class in each module that includes this: its own functions, and where it is counted. */
static newfunc counted_new;
static destructor counted_dealloc;
static counted_end counted_before_end;
static Py_ssize_t *counted;

static inline PyObject *counting_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    /* Before the object is there, as a failing __cinit__ frees it again. */
    Py_ssize_t before = *counted;
    PyObject *made;
    ++*counted;
    made = counted_new(type, args, kwargs);
    if (made == NULL && *counted > before)
        --*counted;
    return made;
}

static inline void counting_dealloc(PyObject *object)
{
    /* What its finalizer brings back to life goes on being counted. */
    if (Py_TYPE(object)->tp_dealloc == counting_dealloc && Py_TYPE(object)->tp_finalize != NULL
        && PyObject_CallFinalizerFromDealloc(object) < 0)
        return;
    if (counted_before_end != NULL)
        counted_before_end(object);
    --*counted;
    counted_dealloc(object);
}

/* Count the objects of a class and of those that inherit from it, from now on. */
static inline void count_instances(PyTypeObject *type, Py_ssize_t *counter, counted_end before_end)
{
    counted = counter;
    counted_new = type->tp_new;
    counted_dealloc = type->tp_dealloc;
    counted_before_end = before_end;
    type->tp_new = counting_new;
    type->tp_dealloc = counting_dealloc;
}

#endif
