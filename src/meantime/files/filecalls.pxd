from meantime._core.coroutine cimport Coroutine
from meantime.files.openfile cimport OpenFile

cdef enum Kind:
    IN_THREAD                     # always made in a thread
    MOVING                        # can be made again as it is: seek, tell
    READING                       # moves on, so it is taken back before it is made again
    FILLING                       # reading, into somebody's buffer
    WRITING                       # never waits for itself; what it leaves behind may
    BULK                          # a write of many bytes, past the buffer

cdef class Call(Coroutine):
    cdef OpenFile file
    cdef bint is_paused           # it has its turn, and gives way to the loop first
    cdef str name
    cdef int kind
    cdef int count                # of arguments
    cdef object method
    cdef object first
    cdef object second
    cdef object waiter            # for our turn; None once it has come
    cdef object place             # where the file was before; None while nothing was done to it
    cdef object result            # what is returned once the backlog is gone
    cdef bint is_draining

    cdef object go(self)
    cdef object hop(self, object function)
    cdef object drain(self)
    cdef int check_made(self) except -1
    cdef object attempt(self)
    cdef object make(self)
    cdef object made_elsewhere(self)
    cdef Py_ssize_t room(self) except -1
    cdef object taken(self, object value)

cdef class PlainCall(Call):
    pass

cdef Call plain_call(OpenFile file, str name, int kind, int count, object first, object method)

cdef class NextLine(Call):
    cdef bint is_step             # of `async for`, which ends with the file
    cdef bint is_plain            # the line comes from a thread, and none is ahead

    cdef object made_plainly(self)

cdef class Positional(Coroutine):
    cdef OpenFile file
    cdef bint is_paused
    cdef bint is_submitted
    cdef object what
    cdef object offset
    cdef bint writes

    cdef object go(self)

cdef class Sync(Coroutine):
    cdef OpenFile file
    cdef str name
    cdef object function
    cdef bint is_flushed
    cdef bint is_submitted

cdef class Close(Coroutine):
    cdef OpenFile file
