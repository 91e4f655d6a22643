"""The poller on epoll: for kernels and containers that have no io_uring. See epoll(7)."""
import os

from libc.errno cimport EBADF, EEXIST, EINTR, ENOENT, EPERM, errno
from libc.stdint cimport int64_t

from meantime._core.kernel cimport (
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLONESHOT,
    close as close_fd,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    epoll_wait_ns,
    monotonic_ns,
)
from meantime._core.poller.contract cimport EDGE, ONCE, Operation, Slot, ticket_of
from meantime._core.poller.threadpool cimport PoolingPoller

cdef enum:
    # While callbacks keep each other busy, asking epoll in every turn would cost more than they
    # do. Both bounds together keep I/O and signals from starving: short turns are bounded by
    # their number, long ones by the time.
    TURNS_SKIPPED_MAX = 64
    SKIPPED_NS_MAX = 100_000


cdef class EpollPoller(PoolingPoller):
    """Readiness from epoll.

    Raises:
        OSError: no descriptor, or no memory, is left.
    """

    def __cinit__(self):
        self.name = "epoll"
        self.replaces = self.operates = True
        self.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll_fd < 0:
            raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        if self.epoll_fd >= 0:
            close_fd(self.epoll_fd)

    cdef int arm(self, int fd, Slot *slot) except -1:
        cdef epoll_event event
        cdef int operation = EPOLL_CTL_MOD if slot.registered else EPOLL_CTL_ADD
        event.events = slot.events
        if slot.trigger == EDGE:
            event.events |= EPOLLET
        elif slot.trigger == ONCE:
            event.events |= EPOLLONESHOT
        event.data.u64 = ticket_of(fd, slot.generation)
        if epoll_ctl(self.epoll_fd, operation, fd, &event) < 0:
            # The kernel forgets a descriptor when it is closed, and does not say so.
            if errno == ENOENT:
                operation = EPOLL_CTL_ADD
            elif errno == EEXIST:
                operation = EPOLL_CTL_MOD
            else:
                raise OSError(errno, os.strerror(errno))
            if epoll_ctl(self.epoll_fd, operation, fd, &event) < 0:
                raise OSError(errno, os.strerror(errno))
        slot.registered = True
        return 0

    cdef int disarm(self, int fd, Slot *slot) except -1:
        cdef epoll_event unused
        slot.registered = False
        if epoll_ctl(self.epoll_fd, EPOLL_CTL_DEL, fd, &unused) < 0:
            # Closed already, by its owner: then it is not watched any more, which is our aim.
            if errno not in (ENOENT, EBADF, EPERM):
                raise OSError(errno, os.strerror(errno))
        return 0

    cdef bint can_skip(self) noexcept:
        if self.event_next < self.event_count:
            return False
        self.turns_skipped += 1
        return (
            self.turns_skipped < TURNS_SKIPPED_MAX
            and monotonic_ns() - self.asked_ns < SKIPPED_NS_MAX
        )

    cdef int wait(self, int64_t timeout_ns) except -1:
        cdef int count, fd, error
        if self.event_next < self.event_count:
            # What an exception left undelivered comes first.
            return self.event_count - self.event_next
        fd = self.epoll_fd
        if timeout_ns == 0:
            count = epoll_wait_ns(fd, self.events, EVENTS_MAX, 0)
            error = errno
        else:
            with nogil:
                count = epoll_wait_ns(fd, self.events, EVENTS_MAX, timeout_ns)
                # Taking the GIL again may change it.
                error = errno
        if count < 0:
            if error != EINTR:
                raise OSError(error, f"epoll_wait failed: {os.strerror(error)}")
            count = 0
        self.turns_skipped = 0
        self.asked_ns = monotonic_ns()
        self.event_next = 0
        self.event_count = count
        return count

    cdef int deliver_all(self) except -1:
        cdef epoll_event *event
        while self.event_next < self.event_count:
            event = &self.events[self.event_next]
            # Counted before it is acted upon: edges are told once, so if a watcher raises, the
            # others must still be told by the next call.
            self.event_next += 1
            self.deliver(event.data.u64, event.events)
        return 0

    cdef int start(self, Operation operation) except -1:
        return self.start_in_pool(operation)

    cdef int shut(self) except -1:
        try:
            self.close_port()
        finally:
            close_fd(self.epoll_fd)
            self.epoll_fd = -1
        return 0
