# cython: binding=True
"""Sleeping for a time."""
from asyncio.futures import _set_result_unless_cancelled

cimport cython
from libc.math cimport isnan

from meantime._core.coroutine cimport FRESH, Coroutine, mark_coroutine_function, track_by_hand
from meantime._core.parking cimport PENDING, Waiter
from meantime._core.schedule cimport SchedulingLoop
from meantime._core.timers cimport TimerHandle
from meantime.primitives.loops cimport (
    cancel_handle,
    new_wait,
    own_loop,
    running_loop,
    start_timer,
)


cdef extern from *:
    """
    #define track(o) do { if (!PyObject_GC_IsTracked(o)) PyObject_GC_Track(o); } while (0)
    """
    void track(object o) noexcept


@cython.final
cdef class Alarm(TimerHandle):
    """Gives the future in `arg0` the result in `arg1`."""

    cdef int run(self) except -1:
        if self.is_cancelled:
            return 0
        try:
            if type(self.arg0) is Waiter:
                if (<Waiter>self.arg0).state == PENDING:
                    (<Waiter>self.arg0).wake(self.arg1)
            else:
                _set_result_unless_cancelled(self.arg0, self.arg1)
        except BaseException as error:
            self.report(error)
        return 0


@cython.final
cdef class Sleep(Coroutine):
    cdef object delay
    cdef object result
    cdef object timer

    cdef str qualified_name(self):
        return "sleep"

    cdef object begin(self):
        cdef SchedulingLoop own
        cdef Alarm alarm
        if self.delay <= 0:
            return self.pause()
        if isnan(self.delay):
            raise ValueError("Invalid delay: NaN (not a number)")
        track(self)
        loop = running_loop()
        own = own_loop(loop)
        future = new_wait(loop)
        if own is None:
            self.timer = loop.call_later(
                self.delay, _set_result_unless_cancelled, future, self.result)
            return future
        alarm = Alarm.__new__(Alarm)
        alarm.arg0 = future
        alarm.arg1 = self.result
        alarm.arg_count = 2
        alarm.callback = _set_result_unless_cancelled
        start_timer(own, alarm, own.now_s() + <double>self.delay)
        self.timer = alarm
        return future

    cdef object resume(self, object value):
        if self.timer is None:
            return self.finish(self.result)
        # It has run, unless somebody else completed its future.
        cancel_handle(self.timer)
        return self.finish(value)

    cdef object fail(self, object exception):
        if self.timer is not None:
            cancel_handle(self.timer)
        raise exception


def sleep(delay, result=None):
    """Wait for `delay` seconds, and return `result`.

    With 0 or less, give way to the loop for one turn. Cancelling ends the wait at once.

    Raises:
        ValueError: `delay` is not a number.
    """
    cdef Sleep made = Sleep.__new__(Sleep)
    made.delay = delay
    made.result = result
    made.stage = FRESH
    if result is not None or not (type(delay) is int or type(delay) is float):
        track(made)
    return made


track_by_hand(Sleep)
mark_coroutine_function(sleep)
