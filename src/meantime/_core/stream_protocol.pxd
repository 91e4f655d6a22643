from meantime._core.coroutine cimport Coroutine

cdef class StreamProtocol:
    cdef public object _loop
    cdef public object _transport
    cdef public object _stream_reader_wr      # a weak reference, or None
    cdef public object _strong_reader         # until there is a connection
    cdef public object _client_connected_cb
    cdef public object _task
    cdef public object _stream_writer         # on Python 3.11 and 3.12
    cdef public object _source_traceback
    cdef public bint _over_ssl
    cdef public bint _reject_connection

    # Flow control.
    cdef public bint _paused
    cdef public bint _connection_lost
    cdef object drain_waiters     # a deque, made when one waits
    cdef bint drains_itself       # nobody has put another `_drain_helper` in the place of ours

    # How the connection ended, for those who ask.
    cdef object closed            # a future, made when somebody asks
    cdef object closing_error
    cdef bint is_closed

    cdef object reader_or_none(self)
    cdef bint take(self, bytes data) except -1
    cdef object waiters(self)
    cdef int wake_drains(self, object error) except -1
    cdef int settle_closed(self) except -1

cdef class Drain(Coroutine):
    cdef StreamProtocol protocol
    cdef object waiter            # the future that we wait for

    cdef int stop_waiting(self) except -1

cdef StreamProtocol direct_receiver(object protocol)
