"""The points at which a loop can be watched. Being watched costs one branch when nobody does."""
import asyncio
from asyncio.log import logger

from libc.stdint cimport int64_t

from meantime._core.kernel cimport monotonic_ns, monotonic_s
from meantime._core.poller.contract cimport Poller
from meantime._core.ready cimport Handle, Scheduler

cdef object Task = asyncio.Task


cdef class Observer:
    """Somebody who is told what a loop does. Subclass it and override what you want to know.

    What is not overridden costs nothing: an observer that only wants to know of sleeps makes no
    callback dearer.

    Every method is called on the loop's thread, between callbacks. One that raises takes its
    observer off: that is reported once, to the loop's exception handler, and the program goes on.

    Attributes:
        rest_s: after a sleep of which it was told, it is not told of another one for so many
            seconds. 0 by default: it is told of each.
    """

    def __cinit__(self, *args, **kwargs):
        kind = type(self)
        self.wants_callbacks = kind.callback_done is not Observer.callback_done
        self.wants_sleeps = (
            kind.waiting is not Observer.waiting or kind.waited is not Observer.waited)
        self.wants_waiting = self.wants_sleeps

    def callback_done(self, handle, spent_s):
        """A callback has run.

        Args:
            handle: its handle, which may be reused as soon as this returns.
            spent_s: how long it held the loop, in seconds.
        """

    def waiting(self):
        """Nothing is left to run, and the loop is about to sleep in the kernel.

        What is scheduled here runs at once: the loop does not sleep then.
        """

    def waited(self, spent_s, event_count):
        """The loop has slept in the kernel; told after each `waiting`.

        Args:
            spent_s: how long, in seconds.
            event_count: how many events ended the sleep; 0 when a timer did.
        """

    cdef int on_waiting(self, int64_t now_ns) except -1:
        if not self.wants_waiting or now_ns < self.rests_until_ns:
            return 0
        self.is_told = True
        self.waiting()
        return 0

    cdef int on_waited(self, int64_t now_ns, int64_t spent_ns, int event_count) except -1:
        if not self.is_told:
            return 0
        self.is_told = False
        self.rests_until_ns = now_ns + <int64_t>(self.rest_s * 1e9)
        self.waited(spent_ns * 1e-9, event_count)
        return 0


cdef class SleepSampler(Observer):
    """Adds up all sleeps, and is told of some that stand for all. Subclass it.

    A sleep as long as `step_s` is told of. Shorter ones are added up, and the one that brings them
    to `next_s` is told of in their place. So a time asleep is met in proportion to its length, and
    a sleep that nobody is told of costs no call of Python code.

    Attributes:
        slept_s: how long the loop has slept since it is observed, in seconds.
        step_s: see above; 0 by default: it is told of each.
        next_s: see above.
    """

    def __cinit__(self, *args, **kwargs):
        self.wants_sleeps = True
        self.wants_waiting = False

    @property
    def slept_s(self):
        return self.slept_ns * 1e-9

    def sampled(self, spent_s):
        """The loop has slept, and nothing has been delivered or run since.

        Args:
            spent_s: how many seconds of sleep this one stands for.
        """

    cdef int on_waited(self, int64_t now_ns, int64_t spent_ns, int event_count) except -1:
        cdef double spent_s = spent_ns * 1e-9
        self.slept_ns += spent_ns
        if spent_s < self.step_s:
            self.short_s += spent_s
            if self.short_s < self.next_s:
                return 0
            spent_s = self.short_s
            self.short_s = 0
        self.sampled(spent_s)
        return 0


cdef class Overseer:
    cdef int run_began(self, ObservedScheduler loop) except -1:
        return 0

    cdef void run_ended(self) noexcept:
        pass

    cdef void woken(self) noexcept:
        pass

    cdef int step_ended(self, int64_t now_ns) except -1:
        return 0

    cdef int turned(self, int64_t now_ns) except -1:
        return 0

    cdef int task_failed(self, object task) except -1:
        return 0

    def task_done(self, task):
        """A task is done that the loop does not step by itself."""
        # Its exception is not asked for: it would count as seen.
        if not task.cancelled() and task._exception is not None:
            self.task_failed(task)


cdef class ObservedScheduler(Scheduler):
    def __cinit__(self, *args, **kwargs):
        # Until __init__ there is one that watches nothing, and says so.
        self._poller = Poller()
        self._poller.closed = True
        self.observers = self.callback_observers = self.sleep_observers = ()
        self.slow_callback_duration = 0.1

    # ---- observers

    def get_debug(self):
        """Return whether debug mode is on."""
        return self.debug

    def set_debug(self, enabled):
        """Turn debug mode on or off."""
        self.debug = bool(enabled)
        self._sort_observers(self.observers)

    def add_observer(self, Observer observer not None):
        """Tell `observer` what the loop does, from the next callback on."""
        self._sort_observers((*self.observers, observer))

    def remove_observer(self, Observer observer not None):
        """Tell `observer` nothing more.

        Raises:
            ValueError: it does not observe this loop.
        """
        left = list(self.observers)
        left.remove(observer)
        self._sort_observers(tuple(left))

    def _sort_observers(self, tuple observers):
        self.observers = observers
        self.callback_observers = tuple([o for o in observers if (<Observer>o).wants_callbacks])
        self.sleep_observers = tuple([o for o in observers if (<Observer>o).wants_sleeps])
        self.tells_of_waiting = any([(<Observer>o).wants_waiting for o in self.sleep_observers])
        self.observed = self.debug or bool(self.callback_observers)

    def _take_off(self, observer, error):
        if observer in self.observers:
            self.remove_observer(observer)
        self.call_exception_handler({
            "message": f"{observer!r} raised an exception and observes this loop no longer",
            "exception": error,
        })

    cdef int run_observed(self, Handle handle) except -1:
        cdef double started_s, spent_s
        if handle.is_cancelled:
            return 0
        task = handle.arg0 if handle.is_step else None
        started_s = monotonic_s()
        handle.run()
        spent_s = monotonic_s() - started_s
        if self.debug and spent_s >= self.slow_callback_duration:
            owner = task or getattr(handle.callback, "__self__", None)
            shown = owner if isinstance(owner, Task) else handle
            logger.warning("Executing %s took %.3f seconds", shown, spent_s)
        for observer in self.callback_observers:
            try:
                observer.callback_done(handle, spent_s)
            except Exception as error:
                self._take_off(observer, error)
        return 0

    cdef int tell_waiting(self, int64_t now_ns) except -1:
        for observer in self.sleep_observers:
            try:
                (<Observer>observer).on_waiting(now_ns)
            except Exception as error:
                self._take_off(observer, error)
        return 0

    cdef int tell_waited(self, int64_t now_ns, int64_t spent_ns, int event_count) except -1:
        for observer in self.sleep_observers:
            try:
                (<Observer>observer).on_waited(now_ns, spent_ns, event_count)
            except Exception as error:
                self._take_off(observer, error)
        return 0

    # ---- the overseer

    cdef int begin_being_watched(self) except -1:
        if RUN_WATCHERS:
            tell_run(self, 0)
        if self.overseer is not None:
            self.overseer.run_began(self)
        return 0

    cdef int end_being_watched(self) except -1:
        try:
            if self._poller.pulse.overdue:
                self.tell_step_ended()
            if RUN_WATCHERS:
                tell_run(self, 1)
        finally:
            # The overseer's thread reads the loop's memory until then.
            if self.overseer is not None:
                self.overseer.run_ended()
        return 0

    cdef int tell_step_ended(self) except -1:
        cdef int64_t ended_ns = self._poller.pulse.ended_ns
        self._poller.pulse.overdue = 0
        self._poller.pulse.ended_ns = 0
        # What is told now is not the step's.
        self._poller.pulse.step += 1
        if self.overseer is not None:
            self.overseer.step_ended(ended_ns if ended_ns else monotonic_ns())
        return 0

    cdef int answer_overseer(self) except -1:
        if self.overseer is not None:
            self.overseer.turned(monotonic_ns())
        self._poller.pulse.asked = 0
        return 0


# ---- runs

cdef list RUN_WATCHERS = []


def watch_runs(began, ended):
    """Call began(loop) when a loop begins to run, and ended(loop) when it stops, on its thread.

    Returns a function that ends this.
    """
    watcher = (began, ended)
    RUN_WATCHERS.append(watcher)

    def unwatch():
        if watcher in RUN_WATCHERS:
            RUN_WATCHERS.remove(watcher)

    return unwatch


cdef int tell_run(object loop, int ended) except -1:
    for watcher in tuple(RUN_WATCHERS):
        try:
            watcher[ended](loop)
        except Exception as error:
            loop.call_exception_handler({
                "message": "a function given to watch_runs raised an exception",
                "exception": error,
            })
    return 0
