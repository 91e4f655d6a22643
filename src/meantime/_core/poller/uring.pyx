"""The poller on io_uring: readiness through poll requests, completions read from memory.

Why a ring used as a poller: one `io_uring_enter` a turn submits every new watch and waits; what is
ready is read from memory, so a busy loop makes no system call to ask; and buffers never belong to
the kernel. See io_uring_enter(2), IORING_OP_POLL_ADD.

A poll request holds a reference to the *file*, not to the descriptor: closing a descriptor that is
still watched does not close the connection. Hence unwatch first; the removal is submitted with the
next `enter`, or at once by `flush`.

Beside that it starts operations on files, which have no readiness. Their memory is the kernel's
until it has said its last word: a ring that is closed goes on for a while in the kernel.
"""
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EAGAIN, EBADF, EBADR, EBUSY, EINTR, ENOSYS, ETIME, errno
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

import os

from meantime._core.counters cimport COUNTING, count_instances, counts
from meantime._core.garbage cimport GC_CLEAR_OF, GC_SET_CLEAR
from meantime._core.kernel cimport (
    ECANCELED,
    EFD_CLOEXEC,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLPRI,
    RING_CQE_MORE,
    RING_OP_ASYNC_CANCEL,
    RING_OP_POLL_ADD,
    RING_OP_READ,
    RING_POLL_MULTISHOT,
    RING_SQE_SKIP_SUCCESS,
    close as close_fd,
    eventfd,
    events_now,
    monotonic_ns,
    ring_cqe,
    ring_poll_mask,
    ring_sqe,
    store_release_u32,
    thread_number,
)
from meantime._core.poller.contract cimport EDGE, LEVEL, ONCE, Operation, Poller, Slot, ticket_of
from meantime._core.poller.ring cimport Ring
from meantime._core.poller.threadpool cimport PoolingPoller

cdef enum:
    # A full submission queue is submitted early, so its size only bounds the batch.
    SQ_ENTRIES = 512
    # Completions that find no room here wait in the kernel, at the price of an allocation each.
    CQ_ENTRIES = 4096
    FLUSH_ROUNDS_MAX = 16
    # How long the end of a ring waits for operations that cannot be cancelled: a disk that hangs
    # must not hang the program.
    LAST_WORD_NS_MAX = 1_000_000_000
    LAST_WORD_STEP_NS = 10_000_000

# The ticket of a request whose answer nobody wants.
cdef uint64_t NOBODY = <uint64_t>-1
# Tells the tickets of operations from those of descriptors, which have no such numbers.
cdef uint64_t OPERATION = <uint64_t>1 << 31

cdef bint self_test_passed = False


cdef int self_test() except -1:
    """Poll something that is ready: a harmless request proves more than a version number.

    Setting up a ring and using it may be forbidden separately.
    """
    global self_test_passed
    cdef Ring ring
    cdef ring_sqe *sqe
    cdef int ready_fd, result
    if self_test_passed:
        return 0
    ready_fd = eventfd(1, EFD_CLOEXEC)
    if ready_fd < 0:
        raise OSError(errno, os.strerror(errno))
    try:
        ring = Ring(8, 16)
        ring.enable()
        sqe = ring.next_sqe()
        sqe.opcode = RING_OP_POLL_ADD
        sqe.fd = ready_fd
        sqe.length = RING_POLL_MULTISHOT
        sqe.operation_flags = ring_poll_mask(POLLIN)
        ring.push_sqe()
        result = ring.enter(1, 1000000000)
        if result < 0:
            raise OSError(-result, f"io_uring_enter was refused: {os.strerror(-result)}")
        if ring.completed() == 0 or not ring.cqes[0].flags & RING_CQE_MORE:
            raise OSError(ENOSYS, "io_uring has no multishot poll here (it needs Linux 5.19)")
        ring.close()
    finally:
        close_fd(ready_fd)
    self_test_passed = True
    return 0


cdef class UringPoller(PoolingPoller):
    """Readiness from io_uring.

    Raises:
        OSError: this machine, or this process, may not use io_uring.
    """

    def __cinit__(self):
        self.name = "io_uring"
        self.operates = True
        self_test()
        self.ring = Ring(SQ_ENTRIES, CQ_ENTRIES)

    def __dealloc__(self):
        # What the kernel still writes into stays where it is, and with it who holds it.
        free(self.operations)

    cdef int arm(self, int fd, Slot *slot) except -1:
        cdef unsigned events = slot.events
        # First, because it may raise, and may submit.
        cdef ring_sqe *sqe = self.new_sqe()
        sqe.opcode = RING_OP_POLL_ADD
        sqe.fd = fd
        # Multishot requests report edges. A level is watched by asking again after each answer:
        # the request looks at the state when it is submitted, with the next `enter`, after this
        # turn's callbacks.
        if slot.trigger == EDGE:
            sqe.length = RING_POLL_MULTISHOT
            # A multishot request answers with what the socket's wake-up announced, and sockets
            # announce POLLPRI with all data. It would say nothing, and cost a read each time.
            events &= ~POLLPRI
        sqe.operation_flags = ring_poll_mask(events)
        sqe.user_data = ticket_of(fd, slot.generation)
        self.ring.push_sqe()
        if COUNTING:
            self.requests += 1
            counts.requests += 1
        return 0

    cdef int disarm(self, int fd, Slot *slot) except -1:
        return self.remove(ticket_of(fd, slot.generation))

    cdef int remove(self, uint64_t ticket) except -1:
        cdef ring_sqe *sqe = self.free_sqe()
        if sqe == NULL:
            # The kernel takes nothing now, for want of memory. An end must not fail by that.
            if self.leaving is None:
                self.leaving = []
            self.leaving.append(ticket)
            return 0
        # Not POLL_REMOVE: that gives up with EALREADY when an event has just come and waits to be
        # told, and the request would live on and hold the file open.
        sqe.opcode = RING_OP_ASYNC_CANCEL
        sqe.fd = -1
        sqe.flags = RING_SQE_SKIP_SUCCESS
        sqe.address = ticket
        sqe.user_data = NOBODY
        self.ring.push_sqe()
        return 0

    cdef int remove_leaving(self) except -1:
        """Try again to remove what the kernel could not take before."""
        leaving = self.leaving
        self.leaving = None
        for ticket in leaving:
            self.remove(ticket)
        return 0

    cdef ring_sqe *new_sqe(self) except NULL:
        cdef ring_sqe *sqe = self.free_sqe()
        if sqe == NULL:
            raise OSError(
                EBUSY,
                "io_uring takes no more requests now: its queue is full, and the kernel lacks the "
                "memory to empty it. Try again later.",
            )
        return sqe

    cdef ring_sqe *free_sqe(self) except? NULL:
        """Return a cleared entry, or NULL when the kernel takes no more now."""
        cdef ring_sqe *sqe = self.ring.next_sqe()
        if sqe == NULL:
            self.submit()
            sqe = self.ring.next_sqe()
        return sqe

    cdef int submit(self) except -1:
        """Submit what is pending, without waiting, from whichever thread this is."""
        self.bind()
        return self.check(self.ring.enter(0, 0))

    cdef int check(self, int result) except -1:
        """Raise what `enter` failed with, unless it passes."""
        if result == -EBADR:
            # The kernel had no memory to keep a completion: somebody's event is lost.
            self.has_lost = True
        elif result < 0 and result not in (-EINTR, -EAGAIN, -EBUSY, -ETIME):
            raise OSError(-result, f"io_uring_enter failed: {os.strerror(-result)}")
        return 0

    cdef int bind(self) except -1:
        """Make this thread the one that may enter the ring.

        A ring serves one thread only. A loop that is run by another one later gets a new ring.
        """
        cdef uint64_t thread = thread_number()
        if self.owner == thread:
            return 0
        if self.in_use:
            raise RuntimeError(
                "the loop was used from a second thread while it runs. "
                "Use loop.call_soon_threadsafe() to act from other threads."
            )
        if self.closed:
            raise RuntimeError("this poller is closed. Make a new event loop.")
        if self.owner != 0:
            return self.rebuild()
        self.ring.enable()
        self.owner = thread
        return 0

    cdef int rebuild(self) except -1:
        """Replace the ring by a new one in which everything is armed again."""
        cdef int fd
        cdef Ring ring = Ring(SQ_ENTRIES, CQ_ENTRIES)
        if COUNTING:
            self.abandon(False)
        self.ring.close()
        self.ring = ring
        self.leaving = None
        self.has_lost = False
        ring.enable()
        self.owner = thread_number()
        for fd in range(self.slot_count):
            if self.slots[fd].watcher != NULL and self.slots[fd].armed:
                self.slots[fd].generation += 1
                self.arm(fd, &self.slots[fd])
        return self.start_again()

    cdef bint can_skip(self) noexcept:
        # Everything that could have happened shows in memory, so nothing can starve.
        return not (
            self.has_lost or self.leaving is not None
            or self.ring.pending() or self.ring.completed() or self.ring.kernel_has_work()
        )

    cdef int flush(self) except -1:
        cdef int _round
        if self.owner != thread_number():
            return 0
        # One call may leave work of its own making behind: a request that just became ready and
        # is removed needs a second one.
        for _round in range(FLUSH_ROUNDS_MAX):
            if not self.ring.pending() and not self.ring.kernel_has_work():
                break
            self.submit()
        return 0

    cdef int wait(self, int64_t timeout_ns) except -1:
        cdef int result = 0
        if self.owner != thread_number():
            self.bind()
        if self.has_lost:
            # A new ring, in which everything is armed again, looks at the state of each.
            self.rebuild()
        if self.leaving is not None:
            self.remove_leaving()
        if timeout_ns == 0 or self.ring.completed():
            if self.ring.pending() or self.ring.kernel_has_work():
                result = self.ring.enter(0, 0)
        else:
            self.in_use = True
            result = self.ring.enter(1, timeout_ns)
            self.in_use = False
        if result < 0:
            self.check(result)
        return self.ring.completed()

    cdef int deliver_all(self) except -1:
        cdef ring_cqe cqe
        cdef uint32_t head
        # Only what is there now: what the watchers cause is for the next turn.
        cdef uint32_t end = self.ring.cq_head[0] + self.ring.completed()
        self.in_use = True
        try:
            while self.ring.cq_head[0] != end:
                head = self.ring.cq_head[0]
                cqe = self.ring.cqes[head & self.ring.cq_mask]
                # Given back before it is acted upon: if a watcher raises, the rest is still there
                # for the next call, and this one is not told twice.
                store_release_u32(self.ring.cq_head, head + 1)
                if COUNTING and cqe.user_data != NOBODY and not cqe.flags & RING_CQE_MORE:
                    self.requests -= 1
                    counts.requests -= 1
                if cqe.user_data != NOBODY:
                    self.complete(cqe.user_data, cqe.result, cqe.flags)
        finally:
            self.in_use = False
        return 0

    cdef int complete(self, uint64_t ticket, int result, unsigned flags) except -1:
        cdef int fd = <int32_t><uint32_t>ticket
        cdef Slot *slot
        cdef unsigned events
        if fd < 0:
            return self.end_operation(<int>(ticket & ~OPERATION), result)
        if fd >= self.slot_count:
            return 0
        slot = &self.slots[fd]
        if slot.watcher == NULL or slot.generation != <uint32_t>(ticket >> 32):
            return 0
        # An error of the request is told as readiness for everything: whoever tries to read or
        # write then meets the real error.
        events = <unsigned>result if result >= 0 else POLLIN | POLLOUT | POLLERR | POLLHUP
        if not flags & RING_CQE_MORE:
            slot.armed = False
            if slot.trigger != ONCE and result != -EBADF:
                # A level, or a multishot request that the kernel gave up (it does so when the
                # completion queue is full). The new request looks at the state again, so nothing
                # that happened in between is missed.
                self.arm(fd, slot)
                slot.armed = True
        if slot.trigger == LEVEL:
            # The answer is what a wake-up announced, and since then somebody may have taken what
            # was there. Callbacks of add_reader may trust that a read will not block.
            events = events_now(fd, slot.events)
            if events == 0:
                return 0
        return self.deliver(ticket, events)

    # ---- operations

    cdef int start(self, Operation operation) except -1:
        if operation.opcode != RING_OP_READ:
            # A write that the file system cannot take at once goes to threads of the kernel, and so
            # does each sync. Ours are woken sooner.
            return self.start_in_pool(operation)
        if self.closed or self.forked():
            raise RuntimeError(
                "cannot start anything: the poller is closed, or was made by the process that "
                "this one was forked from. Make a new event loop here and use that one."
            )
        self.room_for_operation()
        while self.operations[self.next_number] != NULL:
            self.next_number = (self.next_number + 1) % self.operation_room
        self.submit_operation(operation, self.next_number)
        Py_INCREF(operation)
        self.operations[self.next_number] = <PyObject *>operation
        self.operations_in_flight += 1
        return 0

    cdef int room_for_operation(self) except -1:
        """Keep half of the numbers free, so that a free one is found soon."""
        cdef int room = max(self.operation_room * 2, 64)
        cdef PyObject **operations
        if self.operations_in_flight * 2 < self.operation_room:
            return 0
        operations = <PyObject **>realloc(self.operations, room * sizeof(PyObject *))
        if operations == NULL:
            raise MemoryError()
        while self.operation_room < room:
            operations[self.operation_room] = NULL
            self.operation_room += 1
        self.operations = operations
        return 0

    cdef int submit_operation(self, Operation operation, int number) except -1:
        cdef ring_sqe *sqe = self.new_sqe()
        sqe.opcode = operation.opcode
        sqe.fd = operation.fd
        sqe.address = <uint64_t>operation.address
        sqe.length = operation.length
        sqe.offset = operation.offset
        sqe.operation_flags = operation.flags
        sqe.user_data = OPERATION | <uint64_t>number
        self.ring.push_sqe()
        if COUNTING:
            self.requests += 1
            counts.requests += 1
        return 0

    cdef int start_again(self) except -1:
        """Put what was in flight on the ring that was closed onto the new one."""
        cdef int number
        for number in range(self.operation_room):
            if self.operations[number] != NULL:
                operation = <Operation>self.operations[number]
                operation.renew()
                self.submit_operation(operation, number)
        return 0

    cdef int end_operation(self, int number, int result) except -1:
        if number >= self.operation_room or self.operations[number] == NULL:
            return 0
        operation = <Operation>self.operations[number]
        self.operations[number] = NULL
        self.operations_in_flight -= 1
        Py_DECREF(operation)
        return operation.on_done(result)

    cdef int end_operations(self) except -1:
        """Cancel what is in flight and may be cut off, and wait for the kernel's last word.

        It is not waited for for ever.
        """
        cdef int number
        cdef int64_t until_ns = monotonic_ns() + LAST_WORD_NS_MAX
        if not self.forked() and self.owner == thread_number():
            for number in range(self.operation_room):
                if (
                    self.operations[number] != NULL
                    and not (<Operation>self.operations[number]).must_end
                ):
                    self.remove(OPERATION | <uint64_t>number)
            while self.operations_in_flight and monotonic_ns() < until_ns:
                self.check(self.ring.enter(1, LAST_WORD_STEP_NS))
                self.deliver_all()
        for number in range(self.operation_room):
            if self.operations[number] != NULL:
                # The reference stays: nobody knows when the kernel lets go of the memory.
                (<Operation>self.operations[number]).on_done(-ECANCELED)
        return 0

    # ---- the end

    cdef int shut(self) except -1:
        if self.ring is None:
            return 0
        try:
            self.close_port()
            if self.operations_in_flight:
                self.end_operations()
            if not self.forked():
                # Otherwise the kernel lets go of the files only some time after the close, and an
                # address would stay in use.
                self.flush()
        finally:
            if COUNTING:
                self.abandon(not self.forked() and self.owner == thread_number())
            self.ring.close()
        return 0

    cdef int abandon(self, bint drained) except -1:
        """Count what a ring that is about to go has left: nothing, if its own thread closes it."""
        cdef ring_cqe *cqe
        while drained and self.ring.completed():
            cqe = &self.ring.cqes[self.ring.cq_head[0] & self.ring.cq_mask]
            if cqe.user_data != NOBODY and not cqe.flags & RING_CQE_MORE:
                self.requests -= 1
                counts.requests -= 1
            store_release_u32(self.ring.cq_head, self.ring.cq_head[0] + 1)
            self.flush()
        if drained:
            counts.abandoned += self.requests
        counts.requests -= self.requests
        self.requests = 0
        return 0


# The collector takes away the watchers only. The ring is in no circle, and its poller may still be
# asked something by what the collector frees.
GC_SET_CLEAR(<PyTypeObject *>UringPoller, GC_CLEAR_OF(<PyTypeObject *>Poller))


cdef void end_requests(PyObject *owner) noexcept:
    counts.requests -= (<UringPoller>owner).requests


if COUNTING:
    count_instances(<PyTypeObject *>UringPoller, &counts.rings, end_requests)
