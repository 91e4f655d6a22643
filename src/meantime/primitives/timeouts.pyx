# cython: binding=True
"""Timeouts: a block of code that is cancelled when its time is over."""
import asyncio
import sys

from meantime._core.receivers import check_receivers

cimport cython

from meantime._core.coroutine cimport (
    FRESH,
    Coroutine,
    Spares,
    keep_spares,
    mark_coroutine_function,
    spare_or_new,
)
from meantime._core.schedule cimport SchedulingLoop
from meantime._core.tasks cimport count_cancels
from meantime._core.timers cimport TimerHandle
from meantime.primitives.loops cimport (
    cancel_handle,
    current_task,
    now_s,
    own_loop,
    running_loop,
    start_soon,
    start_timer,
)

cdef extern from *:
    """
    #define drop_attributes(timeout) Py_CLEAR((timeout)->__dict__)
    """
    void drop_attributes(Timeout timeout) noexcept

cdef object CancelledError = asyncio.CancelledError
cdef object StateFace = asyncio.timeouts._State
cdef list STATES = [
    StateFace.CREATED, StateFace.ENTERED, StateFace.EXPIRING, StateFace.EXPIRED, StateFace.EXITED,
]

# From Python 3.13 on a subclass of CancelledError counts, and what was raised because of the
# cancellation is told that it was a timeout.
cdef bint EXPLAINS_OTHER_ERRORS = sys.version_info >= (3, 13)


@cython.final
cdef class Expiry(TimerHandle):
    """Expires the Timeout in `arg0`."""

    cdef int run(self) except -1:
        if self.is_cancelled:
            return 0
        try:
            (<Timeout>self.arg0).expire()
        except BaseException as error:
            self.report(error)
        return 0


cdef Spares spare_enterings, spare_leavings


@cython.final
cdef class Entering(Coroutine):
    cdef Timeout timeout

    def __cinit__(self):
        self.spares = &spare_enterings

    cdef str qualified_name(self):
        return "Timeout.__aenter__"

    cdef object begin(self):
        self.timeout.enter()
        return self.finish(self.timeout)


@cython.final
cdef class Leaving(Coroutine):
    cdef Timeout timeout
    cdef object kind
    cdef object exception

    def __cinit__(self):
        self.spares = &spare_leavings

    cdef str qualified_name(self):
        return "Timeout.__aexit__"

    cdef object begin(self):
        self.timeout.leave(self.kind, self.exception)
        return self.finish(None)

cdef object original = asyncio.Timeout


@cython.freelist(256)
cdef class Timeout:
    """Cancels the task in its `async with` block when the time has come.

    Made by `timeout` and `timeout_at`. On the way out of the block the cancellation becomes a
    TimeoutError.

    Args:
        when: the time on the clock of `loop.time()`, in seconds; None for never.
    """

    @property
    def __class__(self):
        # Also for those who have asyncio's class at hand, perhaps from before ours took its place.
        return original if type(self) is Timeout else type(self)

    def __cinit__(self, *args, **kwargs):
        # Cython makes a dictionary for each object, and most never need it.
        drop_attributes(self)

    def __init__(self, when):
        self.state = CREATED
        self.timer = None
        self.task = None
        self.when_s = when

    def when(self):
        """Return the time when it expires, on the clock of `loop.time()`; None for never."""
        return self.when_s

    def reschedule(self, when):
        """Expire at another time: on the clock of `loop.time()`, in seconds; None for never.

        Raises:
            RuntimeError: the block has not been entered, or the timeout has expired or ended.
        """
        if self.state != ENTERED:
            if self.state == CREATED:
                raise RuntimeError("Timeout has not been entered")
            raise RuntimeError(f"Cannot change state of {STATES[self.state].value} Timeout")
        self.loop = running_loop()
        self.schedule(when)

    def expired(self):
        """Return whether the time was over before the block ended."""
        return self.state == EXPIRING or self.state == EXPIRED

    def __repr__(self):
        shown = ""
        if self.state == ENTERED:
            when = round(self.when_s, 3) if self.when_s is not None else None
            shown = f" when={when}"
        return f"<Timeout [{STATES[self.state].value}]{shown}>"

    def __aenter__(self):
        """Start counting, in the task that runs."""
        cdef Entering entering = <Entering>spare_or_new(&spare_enterings)
        entering.timeout = self
        entering.stage = FRESH
        return entering

    def __aexit__(self, exc_type, exc_val, exc_tb):
        """Stop counting. A cancellation by this timeout leaves as TimeoutError."""
        cdef Leaving leaving = <Leaving>spare_or_new(&spare_leavings)
        leaving.timeout = self
        leaving.kind = exc_type
        leaving.exception = exc_val
        leaving.stage = FRESH
        return leaving

    cdef int enter(self) except -1:
        if self.state != CREATED:
            raise RuntimeError("Timeout has already been entered")
        self.loop = running_loop()
        task = current_task(self.loop)
        if task is None:
            raise RuntimeError("Timeout should be used inside a task")
        self.state = ENTERED
        self.task = task
        self.cancelling = count_cancels(task)
        if self.when_s is not None:
            self.schedule(self.when_s)
        return 0

    cdef int schedule(self, object when_s) except -1:
        cdef SchedulingLoop own
        cdef Expiry expiry
        cdef bint is_due
        self.when_s = when_s
        if self.timer is not None:
            cancel_handle(self.timer)
            self.timer = None
        if when_s is None:
            return 0
        own = own_loop(self.loop)
        is_due = when_s <= now_s(self.loop)
        if own is None:
            if is_due:
                self.timer = self.loop.call_soon(self._on_timeout)
            else:
                self.timer = self.loop.call_at(when_s, self._on_timeout)
            return 0
        expiry = Expiry.__new__(Expiry)
        expiry.arg0 = self
        expiry.arg_count = 1
        if is_due:
            start_soon(own, expiry)
        else:
            start_timer(own, expiry, when_s)
        self.timer = expiry
        return 0

    cdef int leave(self, object kind, object exception) except -1:
        if self.timer is not None:
            cancel_handle(self.timer)
            self.timer = None
        if self.state == ENTERED:
            self.state = EXITED
            return 0
        if self.state != EXPIRING:
            raise AssertionError("a Timeout is left once, after it was entered")
        self.state = EXPIRED
        if self.task.uncancel() > self.cancelling or kind is None:
            # Somebody else wants the task cancelled, too.
            return 0
        if kind is CancelledError or (EXPLAINS_OTHER_ERRORS and issubclass(kind, CancelledError)):
            raise TimeoutError from exception
        if EXPLAINS_OTHER_ERRORS and exception is not None:
            explain(exception)
            if isinstance(exception, ExceptionGroup):
                for inner in exception.exceptions:
                    explain(inner)
        return 0

    cdef int expire(self) except -1:
        self.timer = None
        if self.state != ENTERED:
            raise AssertionError("a Timeout that was left has no timer")
        self.task.cancel()
        self.state = EXPIRING
        return 0

    # asyncio's private names.

    def _on_timeout(self):
        self.expire()

    @property
    def _state(self):
        return STATES[self.state]

    @property
    def _when(self):
        return self.when_s

    @property
    def _task(self):
        return self.task

    @property
    def _timeout_handler(self):
        return self.timer


cdef int explain(object exception) except -1:
    """Put a TimeoutError between an exception and the cancellation that it comes from."""
    while exception.__context__ is not None:
        if isinstance(exception.__context__, CancelledError):
            reason = TimeoutError()
            reason.__context__ = reason.__cause__ = exception.__context__
            exception.__context__ = reason
            break
        exception = exception.__context__
    return 0


cdef Timeout new_timeout(object loop, object delay):
    cdef Timeout made = Timeout.__new__(Timeout)
    if delay is not None:
        made.when_s = now_s(loop) + delay
    return made


def timeout(delay):
    """Return a context manager that cancels its `async with` block after `delay` seconds.

    The cancellation leaves the block as TimeoutError. With None it never comes.

    Raises:
        RuntimeError: no event loop runs in this thread.
    """
    return new_timeout(running_loop(), delay)


def timeout_at(when):
    """Return a context manager that cancels its `async with` block at a time.

    Args:
        when: the time on the clock of `loop.time()`, in seconds; None for never.
    """
    cdef Timeout made = Timeout.__new__(Timeout)
    made.when_s = when
    return made


keep_spares(Entering, &spare_enterings)
keep_spares(Leaving, &spare_leavings)
mark_coroutine_function(Timeout.__aenter__)
mark_coroutine_function(Timeout.__aexit__)
check_receivers(globals())
