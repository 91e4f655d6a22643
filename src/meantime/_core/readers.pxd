from meantime._core.loop cimport LoopWatcher
from meantime._core.ready cimport Handle
from meantime._core.schedule cimport SchedulingLoop

cdef class DescriptorWatcher(LoopWatcher):
    """A descriptor that belongs to the user: callbacks and waiters for it."""
    cdef Handle reader            # called in each turn in which there is something to read
    cdef Handle writer
    cdef list read_waiters        # futures of those who wait once, or None
    cdef list write_waiters
    cdef unsigned armed_for

    cdef int settle(self) except -1
    cdef bint has_level(self) noexcept

cdef class ReaderLoop(SchedulingLoop):
    cdef int set_callback(self, int fd, bint to_write, object callback, tuple args) except -1
    cdef bint drop_callback(self, int fd, bint to_write) except -1
    cdef DescriptorWatcher watcher_for(self, int fd)
    cdef object wait_for(self, int fd, bint to_write)
    cdef int forget_waiter(self, int fd, object waiter) except -1
    cdef int check_free(self, int fd) except -1
    cdef Handle callback_handle(self, object callback, tuple args, str method)
