# cython: binding=True
"""Waiting for futures and tasks: `wait`, `wait_for`, and `shield` against a cancellation."""
import asyncio
import concurrent.futures
import sys

cimport cython

from meantime._core.coroutine cimport FRESH, Coroutine, mark_coroutine_function
from meantime.primitives.loops cimport (
    add_awaiter,
    cancel_handle,
    current_task,
    discard_awaiter,
    ensure_future,
    is_coroutine,
    loop_of,
    new_future,
    new_wait,
    running_loop,
)
from meantime.primitives.timeouts cimport Timeout, new_timeout

cdef object CancelledError = asyncio.CancelledError
cdef object isfuture = asyncio.isfuture

FIRST_COMPLETED = concurrent.futures.FIRST_COMPLETED
FIRST_EXCEPTION = concurrent.futures.FIRST_EXCEPTION
ALL_COMPLETED = concurrent.futures.ALL_COMPLETED

cdef tuple CONDITIONS = (FIRST_COMPLETED, FIRST_EXCEPTION, ALL_COMPLETED)

# Up to Python 3.11 wait_for runs a coroutine in a task of its own; from 3.12 on in the caller's.
cdef bint WAITS_IN_OWN_TASK = sys.version_info < (3, 12)

# From Python 3.14 on what a shielded future raises, when nobody waits for it any more, is told to
# the loop's exception handler.
cdef bint LOGS_SHIELDED_ERRORS = sys.version_info >= (3, 14)


cdef class Waiting(Coroutine):
    """Waits for a future of its own, which callbacks and timers complete."""
    cdef object waiter

    @cython.binding(False)
    def release(self, _=None):
        """Complete the wait, if nothing else did."""
        if not self.waiter.done():
            self.waiter.set_result(None)


@cython.final
cdef class Wait(Waiting):
    cdef object given
    cdef object timeout
    cdef object return_when
    cdef set futures
    cdef object timer
    cdef object task
    cdef Py_ssize_t left

    cdef str qualified_name(self):
        return "wait"

    cdef object begin(self):
        fs = self.given
        if isfuture(fs) or is_coroutine(fs):
            raise TypeError(f"expect a list of futures, not {type(fs).__name__}")
        if not fs:
            raise ValueError("Set of Tasks/Futures is empty.")
        if self.return_when not in CONDITIONS:
            raise ValueError(f"Invalid return_when value: {self.return_when}")
        self.futures = set(fs)
        self.given = None
        for future in self.futures:
            if is_coroutine(future):
                raise TypeError("Passing coroutines is forbidden, use tasks explicitly.")
        loop = running_loop()
        self.waiter = new_wait(loop)
        if self.timeout is not None:
            self.timer = loop.call_later(self.timeout, self.release)
        self.left = len(self.futures)
        self.task = current_task(loop)
        on_done = self.count_down
        for future in self.futures:
            future.add_done_callback(on_done)
            add_awaiter(future, self.task)
        return self.waiter

    @cython.binding(False)
    def count_down(self, future):
        """Note that a future is done."""
        self.left -= 1
        discard_awaiter(future, self.task)
        if (
            self.left > 0
            and self.return_when != FIRST_COMPLETED
            and (
                self.return_when != FIRST_EXCEPTION
                or future.cancelled()
                or future.exception() is None
            )
        ):
            return
        if self.timer is not None:
            cancel_handle(self.timer)
        self.release()

    cdef object resume(self, object value):
        cdef set done = set(), pending = set()
        self.let_go()
        for future in self.futures:
            (done if future.done() else pending).add(future)
        return self.finish((done, pending))

    cdef object fail(self, object exception):
        self.let_go()
        raise exception

    cdef int let_go(self) except -1:
        if self.waiter is None:
            return 0
        if self.timer is not None:
            cancel_handle(self.timer)
        on_done = self.count_down
        for future in self.futures:
            future.remove_done_callback(on_done)
            discard_awaiter(future, self.task)
        return 0


def wait(fs, *, timeout=None, return_when=ALL_COMPLETED):
    """Wait for tasks and futures, and return two sets of them: those that are done, and the others.

    Args:
        fs: an iterable of tasks and futures, not empty.
        timeout: after how many seconds to return in any case; None for never.
        return_when: ALL_COMPLETED, FIRST_COMPLETED, or FIRST_EXCEPTION, which is the first one
            that raises, or else all.

    Cancelling ends the wait and leaves them running.

    Raises:
        TypeError: `fs` is not an iterable of futures; coroutines must be made tasks.
        ValueError: `fs` is empty, or there is no such `return_when`.
    """
    cdef Wait made = Wait.__new__(Wait)
    made.given = fs
    made.timeout = timeout
    made.return_when = return_when
    made.stage = FRESH
    return made


cdef enum Doing:
    AWAITING                      # under a timeout, in the caller's task
    CANCELLING                    # and waiting until that has an effect
    WATCHING                      # a task of its own
    GIVING_UP                     # on that, for the caller was cancelled


@cython.final
cdef class WaitFor(Waiting):
    cdef object awaitable
    cdef object delay
    cdef Timeout timeout
    cdef object timer
    cdef object task
    cdef Doing doing
    cdef object reason            # the cancellation, while GIVING_UP

    cdef str qualified_name(self):
        return "wait_for"

    cdef object begin(self):
        if self.delay is not None and self.delay <= 0:
            self.awaitable = ensure_future(self.awaitable, None)
            if self.awaitable.done():
                return self.finish(self.awaitable.result())
            return self.cancel_awaitable(CANCELLING)
        if WAITS_IN_OWN_TASK:
            return self.watch()
        self.doing = AWAITING
        self.timeout = new_timeout(running_loop(), self.delay)
        self.timeout.enter()
        return self.awaitable

    cdef object watch(self):
        if self.delay is None:
            self.doing = AWAITING
            return self.awaitable
        self.doing = WATCHING
        loop = running_loop()
        self.waiter = new_wait(loop)
        self.timer = loop.call_later(self.delay, self.release)
        self.awaitable = ensure_future(self.awaitable, loop)
        self.awaitable.add_done_callback(self.release)
        return self.waiter

    cdef object cancel_awaitable(self, Doing doing):
        """Cancel what is awaited. Not awaited itself, so that this wait can be cancelled, too."""
        self.doing = doing
        if self.timer is not None:
            # It may be due in this very turn, and would take the new waiter for its own.
            cancel_handle(self.timer)
        loop = running_loop()
        self.waiter = new_wait(loop)
        self.task = current_task(loop)
        add_awaiter(self.awaitable, self.task)
        self.awaitable.add_done_callback(self.release)
        self.awaitable.cancel()
        return self.waiter

    cdef object resume(self, object value):
        if self.doing == AWAITING:
            if self.timeout is not None:
                self.timeout.leave(None, None)
            return self.finish(value)
        if self.doing == WATCHING and not self.awaitable.done():
            self.awaitable.remove_done_callback(self.release)
            return self.cancel_awaitable(CANCELLING)
        self.let_go()
        if self.doing == GIVING_UP:
            raise self.reason
        if self.doing == WATCHING:
            return self.finish(self.awaitable.result())
        try:
            return self.finish(self.awaitable.result())
        except CancelledError as error:
            raise TimeoutError from error

    cdef object fail(self, object exception):
        if self.doing == AWAITING:
            if self.timeout is not None:
                self.timeout.leave(type(exception), exception)
            raise exception
        if self.doing == WATCHING and isinstance(exception, CancelledError):
            if self.awaitable.done():
                self.let_go()
                return self.finish(self.awaitable.result())
            self.awaitable.remove_done_callback(self.release)
            self.reason = exception
            # wait_for promises that what it started has ended when it returns.
            return self.cancel_awaitable(GIVING_UP)
        if self.doing == GIVING_UP and exception.__context__ is None:
            # The second cancellation came while the first was being seen to.
            exception.__context__ = self.reason
        self.let_go()
        raise exception

    cdef int let_go(self) except -1:
        if self.timer is not None:
            cancel_handle(self.timer)
        if self.waiter is not None:
            self.awaitable.remove_done_callback(self.release)
        if self.doing != WATCHING:
            discard_awaiter(self.awaitable, self.task)
        return 0


def wait_for(fut, timeout):
    """Await something, at most for `timeout` seconds, and return its result.

    Args:
        fut: a coroutine, a future, or anything else that can be awaited.
        timeout: how many seconds; with 0 or less only what is done already is in time; with None
            there is no limit.

    When the time is over, `fut` is cancelled, and TimeoutError is raised when it has ended. What it
    returns nevertheless is returned. Cancelling this cancels `fut`; `shield` protects it.

    Raises:
        TimeoutError: the time was over first.
    """
    cdef WaitFor made = WaitFor.__new__(WaitFor)
    made.awaitable = fut
    made.delay = timeout
    made.stage = FRESH
    return made


@cython.final
cdef class Shield:
    """What stands between a future that is shielded and the one that is waited for."""
    cdef object inner
    cdef object outer
    cdef object task

    @cython.binding(False)
    def inner_is_done(self, inner):
        """Pass the outcome on."""
        outer = self.outer
        if outer.cancelled():
            if not LOGS_SHIELDED_ERRORS and not inner.cancelled():
                # Nobody will ask for it.
                inner.exception()
            return
        if inner.cancelled():
            outer.cancel()
            return
        exception = inner.exception()
        if exception is not None:
            outer.set_exception(exception)
        else:
            outer.set_result(inner.result())

    @cython.binding(False)
    def outer_is_done(self, outer):
        """Let go of what goes on without a listener."""
        inner = self.inner
        if inner.done():
            return
        inner.remove_done_callback(self.inner_is_done)
        if LOGS_SHIELDED_ERRORS:
            inner.remove_done_callback(log_shielded_error)
            inner.add_done_callback(log_shielded_error)
            if self.task is not None:
                inner.remove_done_callback(self.forget_awaiter)
                discard_awaiter(inner, self.task)

    @cython.binding(False)
    def forget_awaiter(self, inner):
        """Tell the future that the task does not await it any more."""
        discard_awaiter(inner, self.task)


cpdef object log_shielded_error(object future):
    """Tell the loop's exception handler what a future raised that nobody waits for any more."""
    if future.cancelled():
        return
    exception = future.exception()
    if exception is None:
        return
    situation = {
        "message": f"{type(exception).__name__} exception in shielded future",
        "exception": exception,
        "future": future,
    }
    if future._source_traceback:
        situation["source_traceback"] = future._source_traceback
    future._loop.call_exception_handler(situation)


def shield(arg):
    """Return a future of something's result; cancelling this future does not cancel that.

    Args:
        arg: a future or task, or a coroutine, which becomes a task. Keep a reference to the task:
            the loop has only a weak one.

    A cancellation of what is shielded comes through.
    """
    cdef Shield made
    inner = ensure_future(arg, None)
    if inner.done():
        return inner
    loop = loop_of(inner)
    made = Shield.__new__(Shield)
    made.inner = inner
    made.outer = new_future(loop)
    if LOGS_SHIELDED_ERRORS:
        made.task = current_task(loop)
        if made.task is not None:
            add_awaiter(inner, made.task)
            inner.add_done_callback(made.forget_awaiter)
    inner.add_done_callback(made.inner_is_done)
    made.outer.add_done_callback(made.outer_is_done)
    return made.outer


mark_coroutine_function(wait)
mark_coroutine_function(wait_for)
