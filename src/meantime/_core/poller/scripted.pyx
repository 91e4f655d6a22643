"""A poller for tests: events come from a script, and waiting takes no time.

It watches nothing. A test says what happens, looks at what is armed and at which waits there were,
and reads a clock that only waiting moves. A loop on it needs this clock as its own:

    class ScriptedLoop(CoreLoop):
        def time(self):
            return self._poller.now_s
"""
from libc.stdint cimport int64_t, uint64_t

from meantime._core.kernel cimport POLLERR, POLLHUP
from meantime._core.poller.contract cimport Poller, Slot, ticket_of
from meantime._core.poller.contract import Trigger


cdef class ScriptedPoller(Poller):
    """Readiness from a script, in place of a kernel."""

    def __cinit__(self):
        self.name = "scripted"
        self.replaces = True
        self.told = {}
        self.happening = []
        self.waits = []

    @property
    def now_s(self):
        """The time on a clock that starts at 0 and moves in waits and in `advance` only."""
        return self.now_ns * 1e-9

    @property
    def armed(self):
        """What is asked for: descriptor to (events, the trigger's name)."""
        cdef int fd
        asked = {}
        for fd in range(self.slot_count):
            if self.slots[fd].watcher != NULL and self.slots[fd].armed:
                asked[fd] = (self.slots[fd].events, Trigger(self.slots[fd].trigger).name)
        return asked

    def tell(self, int fd, unsigned events):
        """Let the next wait report `events` of `fd`, once.

        As with a kernel, events that nobody watches for stay until somebody does.
        """
        self.told[fd] = self.told.get(fd, 0) | events

    def advance(self, double delay_s):
        """Move the clock: a callback has taken this long."""
        self.now_ns += <int64_t>(delay_s * 1e9)

    cdef int wait(self, int64_t timeout_ns) except -1:
        self.waits.append(timeout_ns)
        self.find_wanted()
        if self.happening:
            return len(self.happening)
        if timeout_ns < 0:
            raise RuntimeError(
                "the loop waits without a limit and the script has nothing for it: it would "
                "hang here for ever. Let the test tell() an event, set a timer, or stop() the loop."
            )
        self.now_ns += timeout_ns
        return 0

    cdef int find_wanted(self) except -1:
        """Move what was told and is watched for to `happening`."""
        cdef int fd
        cdef unsigned events, wanted
        cdef Slot *slot
        for fd, events in tuple(self.told.items()):
            if fd < 0 or fd >= self.slot_count:
                continue
            slot = &self.slots[fd]
            if slot.watcher == NULL or not slot.armed:
                continue
            wanted = events & (slot.events | POLLERR | POLLHUP)
            if not wanted:
                continue
            del self.told[fd]
            if events & ~wanted:
                self.told[fd] = events & ~wanted
            self.happening.append((ticket_of(fd, slot.generation), wanted))
        return 0

    cdef int deliver_all(self) except -1:
        cdef uint64_t ticket
        cdef unsigned events
        happening = self.happening
        while happening:
            # Taken out before it is acted upon: what a watcher's exception leaves is told by the
            # next call.
            ticket, events = happening.pop(0)
            self.deliver(ticket, events)
        return 0

    cdef int arm(self, int fd, Slot *slot) except -1:
        return 0

    cdef int disarm(self, int fd, Slot *slot) except -1:
        return 0
