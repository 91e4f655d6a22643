/* Methods that refuse an object of another kind.
 *
 * Cython's functions, which methods with `binding` are, take the first argument for an object of
 * their class, whatever it is. Their vectorcall is replaced by one that looks first.
 */
#ifndef MEANTIME_RECEIVERS_H
#define MEANTIME_RECEIVERS_H

#include <Python.h>

static int refuses(PyObject *function, PyObject *const *arguments, size_t flagged_count)
{
    PyTypeObject *type = ((PyCMethodObject *)function)->mm_class;
    const char *name = ((PyCFunctionObject *)function)->m_ml->ml_name;
    if (PyVectorcall_NARGS(flagged_count) < 1) {
        PyErr_Format(PyExc_TypeError, "unbound method %s.%s() needs an argument", type->tp_name,
                     name);
        return 1;
    }
    if (PyObject_TypeCheck(arguments[0], type))
        return 0;
    PyErr_Format(PyExc_TypeError,
                 "descriptor '%s' for '%.100s' objects doesn't apply to a '%.100s' object", name,
                 type->tp_name, Py_TYPE(arguments[0])->tp_name);
    return 1;
}

/* Cython has one such function for each way in which a C function takes its arguments. They find
 * the C function in the object, so that of one module serves for all. */
#define CHECKED_CALL(kind)                                                                        \
    static vectorcallfunc unchecked_##kind;                                                       \
    static PyObject *checked_##kind(PyObject *function, PyObject *const *arguments,               \
                                    size_t flagged_count, PyObject *names)                        \
    {                                                                                             \
        if (refuses(function, arguments, flagged_count))                                          \
            return NULL;                                                                          \
        return unchecked_##kind(function, arguments, flagged_count, names);                       \
    }                                                                                             \
    static inline void check_##kind(vectorcallfunc *call)                                         \
    {                                                                                             \
        if (*call == checked_##kind)                                                              \
            return;                                                                               \
        unchecked_##kind = *call;                                                                 \
        *call = checked_##kind;                                                                   \
    }

CHECKED_CALL(without_arguments)
CHECKED_CALL(with_one)
CHECKED_CALL(with_any)
CHECKED_CALL(with_class)

/* Have a function of Cython's, found in `type`, look at its first argument. */
static inline int check_receiver_of(PyObject *function, PyTypeObject *type)
{
    vectorcallfunc *call = &((PyCFunctionObject *)function)->vectorcall;
    PyTypeObject **known = &((PyCMethodObject *)function)->mm_class;
    switch (((PyCFunctionObject *)function)->m_ml->ml_flags) {
    case METH_NOARGS:
        check_without_arguments(call);
        break;
    case METH_O:
        check_with_one(call);
        break;
    case METH_FASTCALL | METH_KEYWORDS:
        check_with_any(call);
        break;
    case METH_METHOD | METH_FASTCALL | METH_KEYWORDS:
        check_with_class(call);
        break;
    default:
        PyErr_Format(PyExc_SystemError, "%s takes its arguments in a way that is not known here",
                     ((PyCFunctionObject *)function)->m_ml->ml_name);
        return -1;
    }
    if (*known == NULL)
        *known = (PyTypeObject *)Py_NewRef((PyObject *)type);
    return 0;
}

#endif
