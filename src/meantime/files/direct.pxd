from meantime.files.filecalls cimport Call, Positional, Sync
from meantime.files.openfile cimport OpenFile

cdef class DirectFile(OpenFile):
    cdef Call call(self, str name, int kind, int count, object first, object method=*)
    cdef Sync sync(self, str name, object function)
    cdef object method(self, str name)
    cdef Positional positional(self, object what, object offset, bint writes)
