"""The seam: a poller says when a descriptor is ready; what to do then is its watcher's business."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from meantime._core.pulse cimport Pulse

cpdef enum Trigger:
    ONCE = 0     # one event, then silence until the next watch
    LEVEL = 1    # an event in every turn in which the descriptor is ready
    EDGE = 2     # an event whenever it becomes ready; whoever is told must use it up

cdef class Watcher:
    cdef object __weakref__
    cdef readonly int fd          # -1 while nobody watches for it
    cdef int on_ready(self, unsigned events) except -1

cdef class Operation:
    # What the kernel is asked: see io_uring_enter(2) for each operation.
    cdef uint8_t opcode
    cdef int fd
    cdef void *address
    cdef uint32_t length
    cdef uint64_t offset
    cdef uint32_t flags
    cdef bint must_end            # it is not cut off when the poller is closed
    cdef int on_done(self, int result) except -1
    cdef int renew(self) except -1

cdef struct Slot:
    void *watcher                 # a strong reference, or NULL
    uint32_t generation           # in each event; one of an earlier generation is a stranger's
    uint16_t events
    uint8_t trigger
    uint8_t armed                 # the kernel was asked and has not given its last answer
    uint8_t registered            # epoll: the kernel may hold an entry; a hint, never relied on

cdef class Poller:
    cdef object unused            # makes the type one that the garbage collector visits
    cdef readonly str name
    cdef Slot *slots              # by descriptor
    cdef int slot_count
    cdef bint replaces            # arming again takes the place of what was armed before
    cdef int born                 # the count of forks in this process when it was made
    cdef bint serves              # a loop stands on it, and is the one to close it
    cdef readonly bint closed
    cdef Pulse pulse              # of its loop; here, because both stamp what they run
    cdef bint operates            # it can have the kernel do something, and say when it is done
    cdef readonly int operations_in_flight
    cdef readonly int own_watches  # descriptors that the poller watches for itself

    # For the loop and the watchers.
    cdef int watch(self, Watcher watcher, int fd, unsigned events, Trigger trigger) except -1
    cdef int unwatch(self, Watcher watcher) except -1
    cdef Watcher watcher_of(self, int fd)
    cdef bint forked(self) noexcept
    cpdef int count_armed(self)
    cpdef close(self)
    cdef int wait(self, int64_t timeout_ns) except -1
    cdef int deliver_all(self) except -1
    cdef bint can_skip(self) noexcept
    cdef int flush(self) except -1
    cdef int start(self, Operation operation) except -1
    cdef int wait_for_operation(self) except -1

    # What an implementation adds.
    cdef int arm(self, int fd, Slot *slot) except -1
    cdef int disarm(self, int fd, Slot *slot) except -1
    cdef int shut(self) except -1

    # What it gets.
    cdef int deliver(self, uint64_t ticket, unsigned events) except -1
    cdef int room_for(self, int fd) except -1

cdef inline uint64_t ticket_of(int fd, uint32_t generation) noexcept nogil:
    return (<uint64_t>generation << 32) | <uint32_t>fd
