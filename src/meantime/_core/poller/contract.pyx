"""What every poller promises, and the table of watched descriptors that they share.

A poller is asked by descriptor. The kernel answers with a ticket, which holds the descriptor and
the generation of its slot. Descriptors are reused at once after a close, so an answer that was on
its way when the old one was closed would reach a stranger: its generation no longer fits, and it
is thrown away.
"""
import os

from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EBADF
from libc.limits cimport INT_MAX
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from meantime._core.counters cimport COUNTING, counts
from meantime._core.garbage cimport (
    GC_CLEAR_OF,
    GC_SET_CLEAR,
    GC_SET_TRAVERSE,
    GC_TRAVERSE_OF,
    inquiry,
    traverseproc,
    visitproc,
)
from meantime._core.kernel cimport F_GETFD, fcntl, monotonic_ns, pthread_atfork

cdef int forks = 0


cdef void count_fork() noexcept nogil:
    global forks
    forks += 1


# An epoll instance and a ring are shared with a forked child: what the child changes there, it
# changes for its parent too. So each poller remembers the count it was born with.
pthread_atfork(NULL, NULL, count_fork)


cdef class Watcher:
    """Somebody who wants to know when a descriptor is ready."""

    def __cinit__(self):
        self.fd = -1

    cdef int on_ready(self, unsigned events) except -1:
        """Use what became ready. Raise only what must leave the loop."""
        raise NotImplementedError


cdef class Operation:
    """Something that the kernel does meanwhile.

    From `start` until `on_done` the poller holds it, in a way that the garbage collector does not
    see: what it holds in turn is the kernel's to write into.
    """

    cdef int on_done(self, int result) except -1:
        """Use the result, or the negative number of an error. Raise only what must leave the loop.

        It may be started again.
        """
        raise NotImplementedError

    cdef int renew(self) except -1:
        """Get ready for a second try, while the kernel may still be at the first one.

        Memory that it may write into must stay as it is, for ever.
        """
        return 0


cdef class Poller:
    """Tells watchers that their descriptor is ready. See the subclasses for how."""

    def __cinit__(self):
        self.born = forks

    def __dealloc__(self):
        cdef int fd
        for fd in range(self.slot_count):
            if self.slots[fd].watcher != NULL:
                if COUNTING:
                    counts.watched -= 1
                Py_DECREF(<object>self.slots[fd].watcher)
        free(self.slots)

    cdef bint forked(self) noexcept:
        return self.born != forks

    cdef int watch(self, Watcher watcher, int fd, unsigned events, Trigger trigger) except -1:
        """Tell `watcher` when one of `events` is there, in place of what it was told before.

        Raises OSError when the kernel refuses, with nothing watched then.
        """
        cdef Slot *slot
        cdef Watcher stale
        if self.closed or self.forked():
            raise RuntimeError(
                f"cannot watch descriptor {fd}: the poller is closed, or was made by the process "
                "that this one was forked from. Make a new event loop here and use that one."
            )
        if fd < 0:
            raise OSError(EBADF, f"{os.strerror(EBADF)}: descriptor {fd} is not open")
        self.room_for(fd)
        slot = &self.slots[fd]
        if slot.watcher != <void *>watcher:
            if slot.watcher != NULL:
                # Its descriptor was closed behind our back, and the number has been given out
                # again. What the kernel still holds of it must not speak for the new one.
                stale = <Watcher>slot.watcher
                self.unwatch(stale)
                del stale
                # Letting go of it may have run anything, and the table may have moved.
                slot = &self.slots[fd]
            if COUNTING:
                counts.watched += 1
            Py_INCREF(watcher)
            slot.watcher = <void *>watcher
            watcher.fd = fd
        elif slot.armed and not self.replaces:
            self.disarm(fd, slot)
        slot.generation += 1
        slot.events = events
        slot.trigger = trigger
        try:
            self.arm(fd, slot)
            slot.armed = True
        except BaseException:
            slot.armed = False
            self.unwatch(watcher)
            raise
        return 0

    cdef int unwatch(self, Watcher watcher) except -1:
        """After this, no event reaches `watcher`. Harmless when it is not watching."""
        cdef int fd = watcher.fd
        cdef Slot *slot
        if fd < 0 or fd >= self.slot_count or self.slots[fd].watcher != <void *>watcher:
            watcher.fd = -1
            return 0
        slot = &self.slots[fd]
        watcher.fd = -1
        try:
            if slot.armed and not self.forked():
                self.disarm(fd, slot)
        finally:
            # Even if the kernel could not be told: what it still answers then reaches nobody.
            slot.armed = False
            slot.generation += 1
            slot.watcher = NULL
            if COUNTING:
                counts.watched -= 1
            # Last, because it may free the watcher and run anything.
            Py_DECREF(watcher)
        return 0

    cpdef int count_armed(self):
        """Return for how many descriptors the kernel has been asked and may still answer."""
        cdef int fd, count = 0
        for fd in range(self.slot_count):
            count += self.slots[fd].watcher != NULL and self.slots[fd].armed
        return count

    cdef Watcher watcher_of(self, int fd):
        """Return who watches `fd`, or None."""
        if fd < 0 or fd >= self.slot_count or self.slots[fd].watcher == NULL:
            return None
        return <Watcher>self.slots[fd].watcher

    cdef int deliver(self, uint64_t ticket, unsigned events) except -1:
        """Tell the watcher, unless the answer is for an earlier one."""
        cdef int fd = <int32_t><uint32_t>ticket
        cdef Slot *slot
        cdef Watcher watcher
        if fd >= self.slot_count:
            return 0
        slot = &self.slots[fd]
        if slot.watcher == NULL or slot.generation != <uint32_t>(ticket >> 32):
            return 0
        if slot.trigger == ONCE:
            slot.armed = False
        # Held here, because the first thing that it does may be to unwatch itself.
        watcher = <Watcher>slot.watcher
        self.pulse.step += 1
        watcher.on_ready(events)
        if self.pulse.overdue and self.pulse.ended_ns == 0:
            # The loop looks only when it has delivered everything.
            self.pulse.ended_ns = monotonic_ns()
        return 0

    cdef int room_for(self, int fd) except -1:
        cdef int64_t wanted = self.slot_count
        cdef Slot *slots
        if fd < wanted:
            return 0
        if fcntl(fd, F_GETFD) < 0:
            # A number out of the blue must not cost the memory of a table of that size.
            raise OSError(EBADF, f"{os.strerror(EBADF)}: descriptor {fd} is not open")
        wanted = max(wanted, 64)
        while wanted <= fd:
            wanted *= 2
        wanted = min(wanted, <int64_t>INT_MAX)
        slots = <Slot *>realloc(self.slots, wanted * sizeof(Slot))
        if slots == NULL:
            raise MemoryError()
        memset(slots + self.slot_count, 0, (wanted - self.slot_count) * sizeof(Slot))
        self.slots = slots
        self.slot_count = wanted
        return 0

    cpdef close(self):
        """Let go of every watcher and of the kernel's objects. May be called again.

        Raises:
            RuntimeError: an open loop stands on it.
        """
        cdef int fd
        if self.closed:
            return
        if self.serves:
            raise RuntimeError(
                "cannot close this poller: an event loop stands on it. "
                "Close the loop, which closes its poller."
            )
        # First, so that nothing is watched anew by what the watchers' ends run.
        self.closed = True
        try:
            for fd in range(self.slot_count):
                if self.slots[fd].watcher != NULL:
                    self.unwatch(<Watcher>self.slots[fd].watcher)
        finally:
            self.shut()

    cdef int wait(self, int64_t timeout_ns) except -1:
        """Learn what is ready; if nothing is, sleep until something is.

        Args:
            timeout_ns: how long to sleep at most; 0 not at all, negative without a limit.

        Returns how many events there are for `deliver_all`.
        """
        raise NotImplementedError

    cdef int deliver_all(self) except -1:
        """Tell the watchers of the events that there are now.

        Raises what a watcher lets out. The other events are then delivered by the next call.
        """
        raise NotImplementedError

    cdef bint can_skip(self) noexcept:
        """Whether a busy loop may leave out a wait(0) in this turn without harm."""
        return False

    cdef int flush(self) except -1:
        """Make the kernel act now on what was unwatched, not only at the next wait."""
        return 0

    cdef int start(self, Operation operation) except -1:
        """Have the kernel do something. `operation` is told by `deliver_all`, once."""
        raise NotImplementedError

    cdef int wait_for_operation(self) except -1:
        """Block a while for an operation that writes or syncs, and tell what has ended."""
        raise NotImplementedError

    cdef int arm(self, int fd, Slot *slot) except -1:
        raise NotImplementedError

    cdef int disarm(self, int fd, Slot *slot) except -1:
        raise NotImplementedError

    cdef int shut(self) except -1:
        return 0


cdef int visit_watchers(PyObject *owner, visitproc visit, void *argument) noexcept:
    cdef int result = poller_traverse(owner, visit, argument)
    cdef int fd
    for fd in range((<Poller>owner).slot_count):
        if result:
            break
        if (<Poller>owner).slots[fd].watcher != NULL:
            result = visit(<PyObject *>(<Poller>owner).slots[fd].watcher, argument)
    return result


cdef int clear_watchers(PyObject *owner) noexcept:
    cdef int fd
    cdef void *watcher
    for fd in range((<Poller>owner).slot_count):
        watcher = (<Poller>owner).slots[fd].watcher
        if watcher != NULL:
            (<Poller>owner).slots[fd].watcher = NULL
            if COUNTING:
                counts.watched -= 1
            Py_DECREF(<object>watcher)
    return poller_clear(owner)


cdef traverseproc poller_traverse = GC_TRAVERSE_OF(<PyTypeObject *>Poller)
cdef inquiry poller_clear = GC_CLEAR_OF(<PyTypeObject *>Poller)
GC_SET_TRAVERSE(<PyTypeObject *>Poller, visit_watchers)
GC_SET_CLEAR(<PyTypeObject *>Poller, clear_watchers)
