from meantime._core.coroutine cimport Coroutine
from meantime._core.stream_protocol cimport Drain

cdef class StreamWriter:
    cdef object __weakref__
    cdef dict __dict__            # programs and their tests put attributes of their own in place

    cdef public object _transport
    cdef public object _protocol
    cdef public object _reader
    cdef public object _loop

cdef class WriterDrain(Drain):
    cdef StreamWriter writer
    cdef bint gives_way           # for one turn, in which the loss may be told

    cdef object wait_for_room(self)

cdef class WaitClosed(Coroutine):
    cdef StreamWriter writer
