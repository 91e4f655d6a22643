cdef class Observer:
    pass
