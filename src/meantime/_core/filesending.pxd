from meantime._core.sending cimport SendingEndpoint

cdef class FileSendingEndpoint(SendingEndpoint):
    cdef object room_waiter       # a Future of loop.sendfile, which waits for room; or None

    cdef int tell_room(self) except -1
