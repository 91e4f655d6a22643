cdef extern from *:
    """
    /* Our classes are static types, and those that Python code makes of them are not. */
    #define has_class_of_ours(o) (!PyType_HasFeature(Py_TYPE(o), Py_TPFLAGS_HEAPTYPE))
    /* The dictionary of an object of a class of ours itself, or NULL. */
    #define attributes_of(o) (*(PyObject **)((char *)(o) + Py_TYPE(o)->tp_dictoffset))
    #define has_attributes(o) (attributes_of(o) != NULL && PyDict_GET_SIZE(attributes_of(o)) != 0)
    #define drop_attributes(o) Py_CLEAR(attributes_of(o))
    """
    bint has_class_of_ours(object o) noexcept
    bint has_attributes(object o) noexcept
    void drop_attributes(object o) noexcept

cdef class LoopBound:
    """What waits on an event loop, and belongs to the one on which it first waited."""
    cdef public object _loop
    cdef dict __dict__
    cdef object __weakref__

    cdef object new_waiter(self)

    cdef inline bint is_plain(self) noexcept:
        """Whether no method can have been replaced, by a subclass or on this object."""
        return has_class_of_ours(self) and not has_attributes(self)

# A line of waiters is a collections.deque of futures, and so it can be looked at, and added to, by
# those who know asyncio's own. These are its methods, and those of asyncio's Future.
cdef object new_line()
cdef int append(object line, object item) except -1
cdef int remove(object line, object item) except -1
cdef object pop_first(object line)
cdef bint is_done(object waiter) except -1
cdef bint is_cancelled(object waiter) except -1
cdef int wake(object waiter, object result) except -1
cdef bint all_cancelled(object line) except -1
cdef str described(object primitive, str state, object waiters)
