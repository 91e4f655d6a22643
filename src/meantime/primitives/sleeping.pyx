# cython: binding=True
"""Sleeping for a time."""
from asyncio.events import get_running_loop
from asyncio.futures import _set_result_unless_cancelled

cimport cython
from libc.math cimport isnan

from meantime._core.coroutine cimport FRESH, Coroutine, mark_coroutine_function


@cython.final
cdef class Sleep(Coroutine):
    cdef object delay
    cdef object result
    cdef object timer

    cdef str qualified_name(self):
        return "sleep"

    cdef object begin(self):
        if self.delay <= 0:
            return self.pause()
        if isnan(self.delay):
            raise ValueError("Invalid delay: NaN (not a number)")
        loop = get_running_loop()
        future = loop.create_future()
        self.timer = loop.call_later(self.delay, _set_result_unless_cancelled, future, self.result)
        return future

    cdef object resume(self, object value):
        # The timer has run, unless somebody else completed its future.
        if self.timer is not None:
            self.timer.cancel()
        return self.finish(self.result if self.timer is None else value)

    cdef object fail(self, object exception):
        if self.timer is not None:
            self.timer.cancel()
        raise exception


def sleep(delay, result=None):
    """Wait for a number of seconds, and return `result`.

    With 0 or less, give way to the loop for one turn.

    Cancelling ends the wait at once.
    """
    cdef Sleep made = Sleep.__new__(Sleep)
    made.delay = delay
    made.result = result
    made.stage = FRESH
    return made


mark_coroutine_function(sleep)
