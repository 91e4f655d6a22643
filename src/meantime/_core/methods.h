/* Methods of C classes that are called once per wake-up, as the C functions they are.
 *
 * A method descriptor says which function it calls and how. Where the way is the one we know, the
 * function is called straight away; else, through the interpreter.
 */
#ifndef MEANTIME_METHODS_H
#define MEANTIME_METHODS_H

#include <Python.h>

typedef struct {
    PyTypeObject *type;
    PyObject *descriptor;
    void *function;
    int flags;
} DirectMethod;

typedef PyObject *(*FastWithKeywords)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);

/* Look a method up. Returns -1 with an exception set when there is none of that name. */
static inline int find_method(DirectMethod *method, PyObject *type, const char *name)
{
    PyObject *descriptor = PyObject_GetAttrString(type, name);
    if (descriptor == NULL)
        return -1;
    method->type = (PyTypeObject *)type;
    method->descriptor = descriptor;
    if (Py_IS_TYPE(descriptor, &PyMethodDescr_Type)) {
        PyMethodDef *definition = ((PyMethodDescrObject *)descriptor)->d_method;
        method->function = (void *)definition->ml_meth;
        method->flags = definition->ml_flags;
    }
    return 0;
}

/* Call without arguments. `self` must be of exactly the method's type. */
static inline PyObject *call_direct(DirectMethod *method, PyObject *self)
{
    if (method->flags == METH_NOARGS)
        return ((PyCFunction)method->function)(self, NULL);
    return PyObject_CallOneArg(method->descriptor, self);
}

/* Call with one argument. `self` must be of exactly the method's type. */
static inline PyObject *call_direct_with(DirectMethod *method, PyObject *self, PyObject *argument)
{
    PyObject *stack[2] = {self, argument};
    if (method->flags == METH_O)
        return ((PyCFunction)method->function)(self, argument);
    if (method->flags == (METH_METHOD | METH_FASTCALL | METH_KEYWORDS))
        return ((PyCMethod)method->function)(self, method->type, stack + 1, 1, NULL);
    return PyObject_Vectorcall(method->descriptor, stack, 2, NULL);
}

/* Call with one argument and one more by name; `names` is the tuple of its name. */
static inline PyObject *call_direct_named(DirectMethod *method, PyObject *self, PyObject *argument,
                                          PyObject *named, PyObject *names)
{
    PyObject *stack[3] = {self, argument, named};
    if (method->flags == (METH_METHOD | METH_FASTCALL | METH_KEYWORDS))
        return ((PyCMethod)method->function)(self, method->type, stack + 1, 1, names);
    if (method->flags == (METH_FASTCALL | METH_KEYWORDS))
        return ((FastWithKeywords)method->function)(self, stack + 1, 1, names);
    return PyObject_Vectorcall(method->descriptor, stack, 2, names);
}

/* An attribute that is read and written by C functions, which are called straight away. `self`
 * must be of the type or of a subclass that does not replace the attribute. */
typedef struct {
    PyObject *descriptor;
    getter get;
    setter set;
    void *closure;
} DirectAttribute;

static inline int find_attribute(DirectAttribute *attribute, PyObject *type, const char *name)
{
    PyObject *descriptor = PyObject_GetAttrString(type, name);
    if (descriptor == NULL)
        return -1;
    attribute->descriptor = descriptor;
    if (Py_IS_TYPE(descriptor, &PyGetSetDescr_Type)) {
        PyGetSetDef *definition = ((PyGetSetDescrObject *)descriptor)->d_getset;
        attribute->get = definition->get;
        attribute->set = definition->set;
        attribute->closure = definition->closure;
    }
    return 0;
}

static inline PyObject *read_direct(DirectAttribute *attribute, PyObject *self)
{
    if (attribute->get != NULL)
        return attribute->get(self, attribute->closure);
    return PyObject_CallMethod(attribute->descriptor, "__get__", "O", self);
}

static inline int write_direct(DirectAttribute *attribute, PyObject *self, PyObject *value)
{
    PyObject *done;
    if (attribute->set != NULL)
        return attribute->set(self, value, attribute->closure);
    done = PyObject_CallMethod(attribute->descriptor, "__set__", "OO", self, value);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Make a future of exactly this type by its slots. `keywords` is {"loop": ...}, and is used again
 * and again: its entry is read before anything else can run. */
static inline PyObject *new_by_slots(PyTypeObject *type, PyObject *nothing, PyObject *keywords,
                                     PyObject *key, PyObject *loop)
{
    PyObject *future;
    if (PyDict_SetItem(keywords, key, loop) < 0)
        return NULL;
    future = type->tp_new(type, nothing, NULL);
    if (future != NULL && type->tp_init(future, nothing, keywords) < 0)
        Py_CLEAR(future);
    if (PyDict_SetItem(keywords, key, Py_None) < 0)
        Py_CLEAR(future);
    return future;
}

#endif
