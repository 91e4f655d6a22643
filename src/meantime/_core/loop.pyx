"""The loop itself: turns, callbacks, timers, and what other threads send."""
import asyncio
import contextvars
import os
from asyncio.events import _get_running_loop, _set_running_loop

from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject, PyTypeObject
from cpython.pythread cimport PyThread_get_thread_ident
from libc.errno cimport errno
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from meantime._core.counters cimport COUNTING, count_instances, counts
from meantime._core.garbage cimport GC_SET_CLEAR
from meantime._core.kernel cimport (
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    POLLIN,
    close as close_fd,
    eventfd,
    eventfd_write,
    exchange_int,
    monotonic_ns,
    monotonic_s,
)
from meantime._core.observe cimport ObservedScheduler, Overseer
from meantime._core.poller.contract cimport EDGE, Poller, Watcher
from meantime._core.pulse cimport Pulse
from meantime._core.ready cimport Handle, Inbox, Queue, breathe
from meantime._core.timers cimport Timers

# Of each loop that runs one; from Python 3.14 on it is not kept here.
cdef dict CURRENT_TASKS = getattr(asyncio.tasks, "_current_tasks", {})

cdef enum:
    # A sleep is cut at this length, as asyncio does, so that no kernel's arithmetic overflows.
    SLEEP_S_MAX = 24 * 3600
    TURNS_PER_BREATH = 64
    SPIN_S_MAX = 1


cdef class LoopWatcher(Watcher):
    cdef int send_gathered(self) except -1:
        return 0


cdef class Wakeup(Watcher):
    """Wakes the loop from another thread.

    Being watched for edges, the descriptor need not be read: each write is an edge.
    """

    def __cinit__(self):
        self.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.event_fd < 0:
            raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        self.shut()

    cdef int on_ready(self, unsigned events) except -1:
        return 0

    cdef int ring(self) except -1:
        if self.event_fd >= 0:
            eventfd_write(self.event_fd, 1)
        return 0

    cdef int shut(self) except -1:
        if self.event_fd >= 0:
            close_fd(self.event_fd)
            self.event_fd = -1
        return 0


cdef class Loop(ObservedScheduler):
    """Turns of waiting and running.

    `SchedulingLoop` adds callbacks and tasks to it, `ReaderLoop` descriptors, `CoreLoop` sockets.

    Args:
        poller: says what is ready. The loop closes it with itself.
        spin_s: for how many seconds to look for events before sleeping in the kernel. It shortens
            the answer to a single peer, at the price of a busy core.
    """

    def __cinit__(self, *args, **kwargs):
        self.closed = True
        self.ready = Queue()
        self.due = Queue()
        self.timers = Timers()
        self.inbox = Inbox()
        self.gathered = []

    def __init__(self, Poller poller not None, double spin_s=0.0):
        if self.wakeup is not None:
            raise RuntimeError("this event loop is set up already. Make another one instead.")
        if poller.serves:
            raise RuntimeError("this poller serves another event loop. Make one for each loop.")
        if not 0 <= spin_s <= SPIN_S_MAX:
            raise ValueError(
                f"spin_s is {spin_s!r}, and a loop cannot spin that long. "
                f"Use seconds from 0 to {SPIN_S_MAX}."
            )
        wakeup = Wakeup()
        self._look_for_own_methods()
        poller.watch(wakeup, wakeup.event_fd, POLLIN, EDGE)
        self.own_context = contextvars.Context()
        self.spin_ns = <int64_t>(spin_s * 1e9)
        self.wakeup = wakeup
        self._poller = poller
        poller.serves = True
        self.closed = False

    def __dealloc__(self):
        free(self.scratch)

    # ---- running

    def _run(self):
        """Run until `stop` is called, or a callback raises SystemExit or KeyboardInterrupt."""
        self.check_may_run()
        self._look_for_own_methods()
        self._thread_id = PyThread_get_thread_ident()
        _set_running_loop(self)
        try:
            self.begin_being_watched()
            while True:
                self.tick()
                if self.stopping:
                    break
        finally:
            try:
                if self.has_entered:
                    self.leave_task()
                if self.gathered:
                    # An exception ended the turn before its writes were sent.
                    self.send_gathered()
            finally:
                try:
                    self.end_being_watched()
                finally:
                    self.stopping = False
                    self._thread_id = 0
                    _set_running_loop(None)
        return None

    def _look_for_own_methods(self):
        self.has_own_time = (
            type(self).time is not Loop.time or "time" in getattr(self, "__dict__", ())
        )

    cdef int check_may_run(self) except -1:
        self.check_open()
        if self._thread_id != 0:
            raise RuntimeError("This event loop is already running")
        if _get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")
        return 0

    cdef int tick(self) except -1:
        """One turn: learn what is ready, then run what is queued, what is ready, what is due.

        That is asyncio's order, and programs rely on it: a task that was started before its data
        came runs before the data is delivered.
        """
        cdef bint has_asked
        self.turn += 1
        if self.turn & (TURNS_PER_BREATH - 1) == 0:
            self.leave_task()
            breathe()
        if self.inbox.arrived.count:
            self.inbox.take(self.ready)
        has_asked = self.poll()
        self._poller.pulse.turn += 1
        if self.timers.count:
            if self.has_own_time:
                self.leave_task()
            self.timers.release_due(self.now_s(), self.due)
        # Only what is queued now. What these callbacks add runs in the next turn, so that the
        # poller is asked again within a bounded time, however busy the callbacks are.
        self.run_batch(self.ready)
        if has_asked:
            self.leave_task()
            self._poller.deliver_all()
            if self._poller.pulse.overdue:
                self.tell_step_ended()
        if self.due.count:
            self.run_batch(self.due)
        if self.gathered:
            self.leave_task()
            self.send_gathered()
        return 0

    cdef int poll(self) except -1:
        """Ask the poller, and sleep in it while there is nothing to do.

        Returns 0 when it was not asked, because that would have been of no use.
        """
        cdef int64_t timeout_ns = 0
        # The last step of the turn has ended.
        self._poller.pulse.step += 1
        if self._poller.pulse.asked:
            self.leave_task()
            self.answer_overseer()
        # What is gathered by now was written while the last turn's writes were sent.
        if self.ready.count or self.due.count or self.gathered or self.stopping:
            if not self.stopping and self._poller.can_skip():
                return 0
        else:
            self.leave_task()
            timeout_ns = self.time_left_ns()
        self.leave_task()
        if self._poller.forked():
            raise RuntimeError(
                "this event loop belongs to the process that this one was forked from. "
                "Make a new event loop in the child, for example with asyncio.run()."
            )
        if timeout_ns == 0:
            self._poller.wait(0)
        else:
            if self.sleep_observers:
                self.sleep_observed(timeout_ns)
            else:
                self.sleep_overseen(timeout_ns)
            self.inbox.take(self.ready)
        # A handler of Python's signal module runs here. If it raises, as the one for Ctrl-C does,
        # the exception leaves the loop between two callbacks.
        PyErr_CheckSignals()
        return 1

    cdef int sleep_observed(self, int64_t timeout_ns) except -1:
        """Sleep, and tell those who want to know. What they schedule ends the sleep at once."""
        cdef int64_t ended_ns, started_ns = monotonic_ns()
        cdef int event_count
        self._poller.pulse.step += 1
        if self.tells_of_waiting:
            self.tell_waiting(started_ns)
            timeout_ns = 0 if self.ready.count or self.stopping else self.time_left_ns()
            started_ns = monotonic_ns()
        event_count = self.sleep_overseen(timeout_ns) if timeout_ns else self._poller.wait(0)
        ended_ns = monotonic_ns()
        self._poller.pulse.step += 1
        self.tell_waited(ended_ns, ended_ns - started_ns, event_count)
        return 0

    cdef int sleep_overseen(self, int64_t timeout_ns) except -1:
        """Sleep, and let the overseer see it. Returns how many events there are."""
        self._poller.pulse.sleeping = 1
        try:
            return self.sleep(timeout_ns)
        finally:
            # A barrier: either the overseer sees that the loop is awake, or the loop sees that the
            # overseer is parked.
            exchange_int(&self._poller.pulse.sleeping, 0)
            # Whoever asked while it slept would hear of a lag that is none. But what it is to be
            # reminded of stays.
            self._poller.pulse.asked = 0
            if self._poller.pulse.reminded:
                self._poller.pulse.asked_ns = 0
                self._poller.pulse.asked = 1
            if self._poller.pulse.parked and self.overseer is not None:
                self.overseer.woken()

    cdef int sleep(self, int64_t timeout_ns) except -1:
        """Sleep in the kernel until something happens, at most for `timeout_ns`.

        Returns how many events there are.
        """
        cdef int64_t started_ns
        cdef int event_count
        if self.spin_ns and self.last_wait_ns < self.spin_ns and self.spin(timeout_ns):
            return 0
        if not self.inbox.fall_asleep() or self.ready.count:
            # The second: a signal's handler ran meanwhile, in a time() that is Python code.
            self.inbox.wake_up()
            return self._poller.wait(0)
        started_ns = monotonic_ns() if self.spin_ns else 0
        try:
            event_count = self._poller.wait(timeout_ns)
        finally:
            self.inbox.wake_up()
        if self.spin_ns:
            self.last_wait_ns = monotonic_ns() - started_ns
        return event_count

    cdef int spin(self, int64_t timeout_ns) except -1:
        """Look for events without sleeping. Returns whether something came.

        Only done while the last wait was short: when nothing comes for long, this burns a core
        for nothing, and the next wait is a real one until traffic is dense again.
        """
        cdef int64_t started_ns = monotonic_ns()
        cdef int64_t spent_ns = 0
        cdef int64_t bound_ns = self.spin_ns
        if 0 < timeout_ns < bound_ns:
            bound_ns = timeout_ns
        while spent_ns < bound_ns:
            if self._poller.wait(0) or self.ready.count or self.inbox.arrived.count:
                self.last_wait_ns = spent_ns
                return 1
            # Other threads need the GIL to give us something to do.
            with nogil:
                spent_ns = monotonic_ns() - started_ns
        self.last_wait_ns = spent_ns
        return bound_ns == timeout_ns

    cdef int64_t time_left_ns(self) except -2:
        """Return the time until the next timer is due; -1 when there is none."""
        cdef double left_s
        if self.timers.count == 0:
            return -1
        left_s = self.timers.next_s()
        if left_s == INFINITY:
            return -1
        left_s -= self.now_s()
        if not left_s > 0:
            # Due, or no number at all: a time() of the program's own may answer anything.
            return 0
        # Rounded up: waking before it is due would mean to sleep again for nothing.
        return <int64_t>(min(left_s, <double>SLEEP_S_MAX) * 1e9) + 1

    cdef double now_s(self) except? -1.0:
        return <double>self.time() if self.has_own_time else monotonic_s()

    cdef int run_batch(self, Queue queue) except -1:
        cdef Py_ssize_t left = queue.count
        cdef Pulse *pulse = &self._poller.pulse
        cdef Handle handle
        while left:
            left -= 1
            handle = queue.pop()
            if self.has_entered and not handle.is_step:
                self.leave_task()
            pulse.step += 1
            self.run_one(handle)
            if pulse.overdue:
                self.tell_step_ended()
        return 0

    cdef int leave_task(self) except -1:
        """Let no task be the current one any more.

        A task stays the current one after its step, until something runs that must not see it. Most
        often that is the next task's step, which only puts itself in its place.
        """
        if self.has_entered:
            self.has_entered = False
            CURRENT_TASKS.pop(self, None)
        return 0

    cdef int run_one(self, Handle handle) except -1:
        return self.run_observed(handle) if self.observed else handle.run()

    cdef int send_gathered(self) except -1:
        cdef list gathered = self.gathered
        cdef Py_ssize_t told = 0
        self.gathered = []
        try:
            while told < len(gathered):
                told += 1
                (<LoopWatcher>gathered[told - 1]).send_gathered()
        except BaseException:
            # A Ctrl-C in the middle: the others are sent when the loop goes on.
            self.gathered[:0] = gathered[told:]
            raise
        return 0

    def stop(self):
        """Stop at the end of this turn; if it does not run, at the end of the next one."""
        self.stopping = True

    def is_running(self):
        """Return whether the loop runs now, in any thread."""
        return self._thread_id != 0

    def is_closed(self):
        """Return whether the loop was closed."""
        return self.closed

    def _check_closed(self):
        self.check_open()

    cdef int check_open(self) except -1:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        return 0

    def _close_core(self):
        """Drop everything that is queued or watched, and close the poller.

        Raises:
            RuntimeError: the loop is running.
        """
        if self._thread_id != 0 and (
            # In a forked child, the thread that ran the loop exists only if it is this one.
            not self._poller.forked() or self._thread_id == PyThread_get_thread_ident()
        ):
            raise RuntimeError("Cannot close a running event loop")
        if self.closed:
            return
        self.closed = True
        self._poller.serves = False
        self.ready.clear()
        self.due.clear()
        self.timers.clear()
        self.inbox.take(self.ready)
        self.ready.clear()
        self.gathered.clear()
        self._poller.close()
        self.wakeup.shut()

    # ---- queueing

    def time(self):
        """Return the loop's time in seconds: a monotonic clock, the same as time.monotonic()."""
        return monotonic_s()

    cdef int post(self, Handle handle) except -1:
        """Queue `handle`, from any thread."""
        if self._thread_id in (0, PyThread_get_thread_ident()):
            # The GIL makes this one step, and the order is that of the calls.
            self.ready.push(handle)
        elif self.inbox.post(handle):
            self.wakeup.ring()
        return 0

    cdef int call_internal(self, object callback, object argument, object context) except -1:
        """Queue a callback of our own, whose argument is known to be good."""
        cdef Handle handle = Handle.__new__(Handle)
        handle.loop = self
        handle.callback = callback
        handle.arg0 = argument
        handle.arg_count = 1
        handle.context = context
        self.ready.push(handle)
        return 0

    cdef int timer_was_cancelled(self) except -1:
        self.timers.count_cancelled()
        return 0

    # ---- being watched

    def _set_overseer(self, Overseer overseer):
        """Let `overseer` look after the loop's steps whenever it runs; None ends that.

        Raises:
            RuntimeError: the loop runs in another thread, or the overseer looks after another loop.
        """
        if self._thread_id not in (0, PyThread_get_thread_ident()):
            raise RuntimeError(
                "the loop runs in another thread. Call this there: loop.call_soon_threadsafe(...)."
            )
        if self.overseer is not None:
            self.overseer.run_ended()
        self.overseer = overseer
        if overseer is not None and self._thread_id != 0:
            overseer.run_began(self)

    def _timer_count(self):
        """Return how many timers are set."""
        return self.timers.count

    def _watch_count(self):
        """Return how many descriptors are watched, without the loop's own."""
        return 0 if self.closed else self._poller.count_armed() - 1 - self._poller.own_watches

    cdef char *scratch_buffer(self) except NULL:
        if self.scratch == NULL:
            self.scratch = <char *>malloc(SCRATCH_BYTES)
            if self.scratch == NULL:
                raise MemoryError()
        return self.scratch


cdef int clear_loop(PyObject *owner) noexcept:
    """Break the one circle that is not broken elsewhere: by a factory that refers to the loop.

    The queues, the heap and the poller let go of what they hold by themselves, and stay.
    """
    (<Loop>owner).task_factory = None
    return 0


GC_SET_CLEAR(<PyTypeObject *>Loop, clear_loop)
if COUNTING:
    count_instances(<PyTypeObject *>Loop, &counts.loops, NULL)
