"""Whose turn it is: among the calls of a file, and between them and everything else on the loop."""
import asyncio
from collections import deque

cimport cython
from libc.stdint cimport int64_t

from meantime._core.kernel cimport monotonic_ns

cdef enum:
    # How long calls may be answered at once before one of them gives way.
    PAUSE_AFTER_NS = 500_000
    SMALL_CALLS = 32


@cython.final
cdef class Turns:
    """Who may use a file: one at a time, in the order in which they asked."""

    def __cinit__(self):
        self.busy = False

    def ask(self):
        """Get in line. The turn has come when the future is done."""
        waiter = asyncio.get_running_loop().create_future()
        if self.line is None:
            self.line = deque()
        self.line.append(waiter)
        return waiter

    cdef int withdraw(self, object waiter) except -1:
        """Leave the line, or give the turn back if it has just come."""
        if waiter.done() and not waiter.cancelled():
            self.hand_over()
        else:
            waiter.cancel()
        return 0

    def give(self):
        """End a turn, and hand it to the next one in line."""
        self.hand_over()

    cdef int hand_over(self) except -1:
        while self.line:
            waiter = self.line.popleft()
            if not waiter.done() and not waiter.get_loop().is_closed():
                waiter.set_result(None)
                return 0
        self.busy = False
        return 0


cdef int64_t paused_ns = 0


cdef unsigned small_calls = 0


cdef bint is_time_to_pause_after_small() noexcept:
    """The same for calls that take less time than looking at the clock: it is not always asked."""
    global small_calls
    small_calls += 1
    return small_calls % SMALL_CALLS == 0 and is_time_to_pause()


cdef bint need_not_pause_after_small() noexcept:
    """Whether that would not even ask the clock. If so, it counts as having been asked."""
    global small_calls
    if (small_calls + 1) % SMALL_CALLS == 0:
        return False
    small_calls += 1
    return True


@cython.binding(True)
def is_time_to_give_way():
    """Say the same to Python."""
    return is_time_to_pause()


cdef bint is_time_to_pause() noexcept:
    """Whether others on the loop have to have their turn. Who is told so must pause.

    Calls that are answered at once do not give way to the loop, and a program may make any number
    of them: one that reads a large file would hold up everything else.
    """
    global paused_ns
    cdef int64_t now_ns = monotonic_ns()
    if now_ns - paused_ns < PAUSE_AFTER_NS:
        return False
    paused_ns = now_ns
    return True
