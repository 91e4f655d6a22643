from meantime._core.chunks cimport Chunks

cdef class StreamInput:
    cdef object __weakref__
    cdef dict __dict__            # programs and their tests put attributes of their own in place

    cdef Chunks chunks
    cdef bytearray lent           # what `_buffer` gave out; while it is set, it holds the bytes

    cdef object loop
    cdef public object _transport
    cdef public object _exception
    cdef public object _waiter    # a future of whoever waits for data
    cdef public object _source_traceback
    cdef public bint _eof
    cdef public bint _paused      # the transport was paused
    cdef object spent             # the last future that somebody waited for,
    cdef object spare             # and the one before
    cdef dict with_loop           # the keyword arguments of a future
    cdef bint is_own_class        # no subclass: nobody overrides `feed_data`
    cdef bint is_plain            # a subclass, if any, leaves alone what the methods are made of

    cdef object limit             # as it was given
    cdef Py_ssize_t limit_bytes
    cdef Py_ssize_t pause_bytes   # above so many bytes the transport is paused

    cdef Py_ssize_t held(self) except -1
    cdef int take_back(self) except -1
    cdef int settle(self) except -1
    cdef bytes take(self, Py_ssize_t count)
    cdef bytes take_rest(self)
    cdef int put_back(self, bytes data) except -1
    cdef int feed(self, bytes data) except -1
    cdef object new_waiter(self, str function)
    cdef object fresh_future(self)
    cdef int waited_for(self, object waiter) except -1
    cdef int wake(self) except -1
    cdef int pause_transport(self) except -1
    cdef int resume_transport(self) except -1
    cdef bint takes_directly(self) noexcept
    cdef bint has_no_attributes(self) noexcept

cdef Py_ssize_t clipped(object size) except -1
cdef object loop_for(object given)
