from meantime._core.readers cimport ReaderLoop

cdef class CoreLoop(ReaderLoop):
    cdef int usable(self, object sock) except -1
    cdef object receive(self, int fd, Py_ssize_t size_bytes)
