from meantime._core.stream_input cimport StreamInput

cdef class StreamReader(StreamInput):
    cdef bint inherits_all(self) except -1
    cdef bint replaces_none(self) except -1
    cdef bint acts_as_itself(self) except -1
