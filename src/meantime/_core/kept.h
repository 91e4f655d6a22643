/* Memory for objects of C classes: that of what has ended is kept for the next of the same size. */
#ifndef MEANTIME_KEPT_H
#define MEANTIME_KEPT_H

#include <Python.h>
#include <string.h>

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

static PyObject *kept_alloc_untracked(PyTypeObject *type, Py_ssize_t count)
{
    PyObject *made;
#ifndef Py_GIL_DISABLED
    size_t index = kept_index(type);
    if (index < KEPT_SIZES && kept[index].first != NULL) {
        PyObject *object = kept[index].first;
        kept[index].first = KEPT_NEXT(object);
        kept[index].count--;
        /* The collector's two words in front, too: they remember that the last one here was
         * finalized. */
        memset((void **)object - 2, 0, (size_t)type->tp_basicsize + 2 * sizeof(void *));
        return PyObject_Init(object, type);
    }
#endif
    made = PyType_GenericAlloc(type, count);
    if (made != NULL)
        PyObject_GC_UnTrack(made);
    return made;
}

static PyObject *kept_alloc(PyTypeObject *type, Py_ssize_t count)
{
    PyObject *made = kept_alloc_untracked(type, count);
    if (made != NULL)
        PyObject_GC_Track(made);
    return made;
}

static void kept_free(void *memory)
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

/* For a class that the collector visits, and for those that inherit from it afterwards. */
static inline void keep_memory(PyTypeObject *type)
{
    type->tp_alloc = kept_alloc;
    type->tp_free = kept_free;
}

#endif
