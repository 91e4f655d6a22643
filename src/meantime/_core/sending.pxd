from meantime._core.endpoint cimport Endpoint
from meantime._core.kernel cimport iovec

cdef class SendingEndpoint(Endpoint):
    cdef bint write_ended         # write_eof was called
    cdef bint is_corked           # writes are held back until the protocol has had its say
    cdef bint is_blocked          # the kernel has no room, and will tell when it has
    cdef unsigned char is_sending_file   # by loop.sendfile: nothing may be written meanwhile
    cdef unsigned char pieces_max        # how many pieces may leave with one system call

    # What is to be sent: `lone` while it is a single bytes object, otherwise those of `chunks`
    # from `first` on. Of the first one, what stands before `first_offset` has been sent.
    cdef bytes lone
    cdef list chunks
    cdef Py_ssize_t first
    cdef Py_ssize_t first_offset

    cdef int enqueue(self, object data, Py_ssize_t start) except -1
    cdef int send_soon(self) except -1
    cdef bint is_large_view(self, object data)
    cdef int send_now(self, object data) except -1
    cdef int send_memory(self, const char *data, Py_ssize_t size) except -1
    cdef Py_ssize_t send_pieces(self, Py_ssize_t *offered) noexcept
    cdef int drop_sent(self, Py_ssize_t count) except -1
    cdef int all_sent(self) except -1
    cdef int check_may_write(self, str method) except -1

    # What another kind of file does in another way.
    cdef Py_ssize_t transmit(self, iovec *pieces, int count) noexcept
    cdef int write_failed(self) except -1
