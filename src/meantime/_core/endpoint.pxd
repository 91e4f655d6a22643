from meantime._core.kernel cimport sockaddr_in6, socklen_t
from meantime._core.loop cimport Loop, LoopWatcher

cdef enum State:
    OPENING, OPEN, DRAINING, LOST, CLOSED

cdef enum:
    # How many writes after the loss of the connection pass without a warning, as in asyncio.
    WRITES_IGNORED_MAX = 5

cdef class Endpoint(LoopWatcher):
    """What all transports share: a socket or pipe, a protocol, and how both end."""
    cdef dict __dict__            # tests and libraries put their own `write` in place

    # The socket. The Python object is made when somebody asks for it.
    cdef int socket_fd
    cdef int family
    cdef bint is_pipe             # what is in `sock` is another open file, which has no names
    cdef object sock
    cdef object server
    cdef dict extra
    cdef sockaddr_in6 peer_raw    # the peer's address as accept gave it; length 0 when in `extra`
    cdef socklen_t peer_length

    # Who is told, and in which context.
    cdef object protocol
    cdef object context

    cdef State state
    cdef bint has_unread          # the kernel may have bytes that no event will tell of again
    cdef bint writing_paused      # the protocol was told to pause
    cdef bint is_gathered         # the loop will call send_gathered in this turn
    cdef int writes_ignored       # after the connection was lost
    cdef Py_ssize_t queued_bytes
    cdef Py_ssize_t high_bytes
    cdef Py_ssize_t low_bytes

    cdef int adopt(self, Loop loop, int fd, int family, object protocol, object server) except -1
    cdef int made(self) except -1
    cdef int read_later(self) except -1
    cdef int protocol_failed(self, object error, str message) except -1
    cdef bint ignores_write(self) except -1
    cdef int gather(self) except -1
    cdef int pause_protocol(self) except -1
    cdef int resume_protocol(self) except -1
    cdef int fatal(self, object error, str message) except -1
    cdef int force_close(self, object error) except -1
    cdef int lose(self, object error) except -1
    cdef int close_socket(self) except -1

    # What each kind adds.
    cdef int use_protocol(self, object protocol) except -1
    cdef bint may_read(self) noexcept
    cdef int read(self) except -1
    cdef int send_queued(self) except -1
    cdef int drop_queue(self) except -1
    # A TLS transport is given what the one beneath it received. The memory is lent for the call.
    cdef int on_wire(self, const char *data, Py_ssize_t size) except -1

cdef object os_error()

cdef extern from *:
    """
    #define set_errno(value) (errno = (value))
    #define clear_message(message) memset(message, 0, sizeof *(message))
    """
    void set_errno(int value)
    void clear_message(void *message)
