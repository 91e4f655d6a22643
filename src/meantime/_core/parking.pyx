"""What a task waits for in line: a future of which only that is left.

A primitive that lets a task wait makes a future, and asyncio's would then be told of a callback,
would schedule it, and the callback would schedule the task. A `Waiter` knows the task: completing
it puts the task's next step straight into the loop's queue, at the place where the callback would
have been. To all others it is a future like any.
"""
import asyncio
from contextvars import copy_context

cimport cython

from meantime._core.loop cimport Loop
from meantime._core.ready cimport Handle

cdef object FACE = asyncio.Future
# asyncio looks its class up when it makes a future, so those who replace it there mean us too.
cdef dict names_of_futures = asyncio.futures.__dict__
cdef object CancelledError = asyncio.CancelledError
cdef object InvalidStateError = asyncio.InvalidStateError
cdef list NAMES = ["PENDING", "FINISHED", "CANCELLED"]


@cython.final
@cython.freelist(1024)
cdef class Waiter:
    """It stands in for `asyncio.Future`: `isinstance(waiter, asyncio.Future)` is true."""

    @property
    def __class__(self):
        return FACE

    # ---- the part that is used all the time

    cdef int wake(self, object value) except -1:
        """Complete it with a result. It must not be done."""
        self.value = value
        return self.complete(FINISHED)

    cdef bint drop(self, object message) except -1:
        """Cancel it. Returns whether it was not done."""
        if self.state != PENDING:
            return False
        self.value = message
        self.complete(CANCELLED)
        return True

    cdef int complete(self, WaiterState state) except -1:
        self.state = state
        if self.driver is not None:
            driver, task = self.driver, self.task
            self.driver = self.task = None
            schedule_step(self.loop, driver, task)
        if self.callbacks is not None:
            callbacks = self.callbacks
            self.callbacks = None
            for callback, context in callbacks:
                (<object>self.loop).call_soon(callback, self, context=context)
        return 0

    cdef object outcome(self):
        """Return its result, or raise."""
        if self.state == FINISHED:
            if self.exception_set is not None:
                raise self.exception_set
            return self.value
        if self.state == CANCELLED:
            raise self._make_cancelled_error()
        raise InvalidStateError("Result is not set.")

    cdef object failure(self):
        """Return what it raises, now that it is done, or None."""
        if self.state == CANCELLED:
            return self._make_cancelled_error()
        return self.exception_set

    # ---- what asyncio's has

    def done(self):
        return self.state != PENDING

    def cancelled(self):
        return self.state == CANCELLED

    def cancel(self, msg=None):
        return self.drop(msg)

    def result(self):
        return self.outcome()

    def exception(self):
        if self.state == FINISHED:
            return self.exception_set
        return self.outcome()

    def set_result(self, result, /):
        self.check_pending()
        self.wake(result)

    def set_exception(self, exception, /):
        self.check_pending()
        if isinstance(exception, type):
            exception = exception()
        if isinstance(exception, StopIteration):
            # It would be taken for the end of whatever awaits this.
            reason = exception
            exception = RuntimeError(
                "StopIteration interacts badly with generators and "
                "cannot be raised into a Future"
            )
            exception.__cause__ = exception.__context__ = reason
        self.exception_set = exception
        self.complete(FINISHED)

    def check_pending(self):
        if self.state != PENDING:
            raise InvalidStateError("invalid state")

    def add_done_callback(self, fn, /, *, context=None):
        if self.state != PENDING:
            (<object>self.loop).call_soon(fn, self, context=context)
            return
        if self.callbacks is None:
            self.callbacks = []
        self.callbacks.append((fn, copy_context() if context is None else context))

    def remove_done_callback(self, fn, /):
        if self.callbacks is None:
            return 0
        kept = [pair for pair in self.callbacks if pair[0] != fn]
        removed = len(self.callbacks) - len(kept)
        self.callbacks = kept
        return removed

    def get_loop(self):
        return self.loop

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.state == PENDING:
            if self.blocking:
                raise RuntimeError("await wasn't used with future")
            self.blocking = True
            return self
        value = self.outcome()
        if value is None:
            raise StopIteration
        raise StopIteration(value)

    def __repr__(self):
        shown = NAMES[self.state].lower()
        if self.state == FINISHED:
            if self.exception_set is None:
                shown += f" result={self.value!r}"
            else:
                shown += f" exception={self.exception_set!r}"
        return f"<Future {shown}>"

    def _make_cancelled_error(self):
        return CancelledError() if self.value is None else CancelledError(self.value)

    @property
    def _asyncio_future_blocking(self):
        return self.blocking

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, blocking):
        self.blocking = blocking

    @property
    def _loop(self):
        return self.loop

    @property
    def _state(self):
        return NAMES[self.state]

    @property
    def _callbacks(self):
        return self.callbacks or None

    @property
    def _cancel_message(self):
        return self.value if self.state == CANCELLED else None

    @property
    def _exception(self):
        return self.exception_set

    @property
    def _result(self):
        return self.value if self.state == FINISHED else None

    @property
    def _log_traceback(self):
        return False

    @property
    def _source_traceback(self):
        return None


cdef Waiter new_waiter(Loop loop):
    cdef Waiter made = Waiter.__new__(Waiter)
    made.loop = loop
    made.state = PENDING
    return made


cdef Waiter waiter_on(object loop):
    if (
        isinstance(loop, Loop) and (<Loop>loop).stepping is not None
        and (<Loop>loop).is_plain and not (<Loop>loop).debug
        and names_of_futures["Future"] is FACE
    ):
        return new_waiter(<Loop>loop)
    return None


cdef int schedule_step(Loop loop, Handle driver, object task) except -1:
    if loop.closed:
        loop.check_open()
    driver.arg0 = task
    loop.ready.push(driver)
    return 0
