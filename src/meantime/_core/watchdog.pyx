# cython: binding=True
"""The watchdog: looks from another thread whether a loop still turns, and at its stack if not.

The thread is C, in watchdog.h. What it finds is told on the loop's own thread, as soon as the step
or turn that took too long has ended.
"""
import asyncio
import atexit
import inspect
import os
import sys

from meantime._core.receivers import check_receivers

from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int64_t

from meantime._core.kernel cimport monotonic_ns, pthread_atfork
from meantime._core.observe cimport ObservedScheduler, Overseer

cdef extern from "Python.h":
    int PyGC_Disable() noexcept
    int PyGC_Enable() noexcept
    Py_ssize_t Py_REFCNT(object counted) noexcept
    object PyObject_GenericGetDict(object owner, void *context)

cdef extern from "watchdog.h" nogil:
    struct Dog "struct dog":
        void (*on_sighting)(void *owner, const Sighting *seen) noexcept
    Dog dog
    void make_dog()
    void forget_dog()
    Watched *begin_watch(void *pulse, void *owner, int64_t threshold_ns)
    void end_watch(Watched *watched)
    void unpark(Watched *watched)
    void count_lag(Watched *watched, int64_t lag_ns)
    void remind_at(Watched *watched, int64_t at_ns)

# These let go of the GIL by themselves, and take it again.
cdef extern from "watchdog.h":
    void resume_dog() noexcept
    void stop_dog(int for_good) noexcept

cdef int CO_OPTIMIZED = inspect.CO_OPTIMIZED

cdef enum:
    FRAMES_MAX = 100
    SIGHTINGS_MAX = 32
    VARIABLES_MAX = 50
    THRESHOLD_MS_MIN = 1

# A step that never ends is told of while it goes on.
cdef int64_t STUCK_NS = 5_000_000_000
cdef double THRESHOLD_S = 0.05
cdef object current_frames = sys._current_frames
cdef object current_task = asyncio.current_task
cdef bint SHARES_NAMES = sys.version_info < (3, 13)
cdef frozenset ASKS_FOR_NAMES = frozenset({"locals", "vars", "dir", "eval", "exec", "f_locals"})

# Where blocking is allowed: (thread, id of the task that asked for it), and how often.
ALLOWED = {}


cdef class Watchdog(Overseer):
    """Looks after one loop. Subclass it and override what you want to know.

    Set it on a loop by `loop._set_overseer(watchdog)`; it then watches whenever the loop runs.
    Nothing is found below the threshold, and everything from one and a quarter of it on.

    Args:
        threshold_s: how long a step, or a turn, may take.

    Raises:
        ValueError: the threshold is below a millisecond, or no number.
    """

    def __cinit__(self, *args, **kwargs):
        self.threshold_s = THRESHOLD_S
        self.seen = []
        self.remind_after_ns = -1

    def __init__(self, double threshold_s=THRESHOLD_S):
        if not THRESHOLD_MS_MIN * 1e-3 <= threshold_s < 1e9:
            raise ValueError(
                f"threshold_s is {threshold_s!r}, and steps cannot be timed by that. "
                "Use seconds, from 0.001 on."
            )
        self.threshold_s = threshold_s

    # ---- for subclasses

    def step_took_too_long(self, spent_s, sightings):
        """A step has ended that took longer than the threshold. On the loop's thread.

        Args:
            spent_s: how long; on the clock, and to an eighth of the threshold.
            sightings: what was seen meanwhile, a list of tuples: the step's number, how long it
                had lasted, the task or None, whether other threads had the GIL, the frames from the
                innermost one on, as tuples of a code object, the index of its last instruction and
                the line, and the types of the innermost function's variables.
        """

    def turn_took_too_long(self, spent_s, step_count, sightings):
        """A turn has ended that took longer than the threshold, though no step in it did."""

    def step_is_stuck(self, spent_s, sightings):
        """A step has taken 5 seconds and goes on. Told once per step, in the watchdog's thread.

        That thread is none of Python's threading module: leave as soon as possible.
        """

    def task_has_failed(self, task):
        """A task has ended by an exception. On the loop's thread."""

    def reminder(self):
        """The time of `remind_in` has come. On the loop's thread, between two turns."""

    # ---- reminders

    def remind_in(self, double after_s):
        """Call `reminder` once, after so many seconds of the loop's running, or a little later.

        Unlike a timer of the loop's it costs the loop nothing while it waits, which is until it is
        awake anyway; a loop that sleeps for long is woken. Only the last such wish counts. To be
        called on the loop's thread; what is wished before it runs begins when it does.
        """
        self.remind_after_ns = <int64_t>(after_s * 1e9)
        if self.watched != NULL:
            remind_at(self.watched, monotonic_ns() + self.remind_after_ns)
            self.remind_after_ns = -1

    # ---- lag

    def lag_histogram(self):
        """Return how often the loop answered how late: a list of (seconds, count).

        It is asked four times per threshold. Each count is of answers that took less than these
        seconds, and not less than those of the pair before; the first is of looks that found it
        asleep.
        """
        cdef int index
        return [
            ((1 << index) * 1e-6 if index else 0.0, self.lag_counts[index] + (
                self.watched.lag_counts[index] if self.watched != NULL else 0))
            for index in range(LAG_BUCKETS)
        ]

    @property
    def lag_s_max(self):
        """The latest answer, in seconds."""
        cdef int64_t lag_ns = self.lag_ns_max
        if self.watched != NULL:
            lag_ns = max(lag_ns, self.watched.lag_ns_max)
        return lag_ns * 1e-9

    # ---- what the loop says, on its thread

    cdef int run_began(self, ObservedScheduler loop) except -1:
        if self.watched != NULL:
            if self.loop is loop:
                return 0
            raise RuntimeError(
                "this watchdog looks after another loop that runs. Make one for each loop.")
        self.thread_id = PyThread_get_thread_ident()
        self.watched = begin_watch(
            &loop._poller.pulse, <void *>self, <int64_t>(self.threshold_s * 1e9))
        if self.watched == NULL:
            raise MemoryError()
        self.loop = loop
        if self.remind_after_ns >= 0:
            self.remind_in(self.remind_after_ns * 1e-9)
        return 0

    cdef void run_ended(self) noexcept:
        cdef int index
        cdef Watched *watched = self.watched
        if watched == NULL:
            return
        self.watched = NULL
        for index in range(LAG_BUCKETS):
            self.lag_counts[index] += watched.lag_counts[index]
        self.lag_ns_max = max(self.lag_ns_max, watched.lag_ns_max)
        end_watch(watched)
        self.loop = None
        self.seen = []

    cdef void woken(self) noexcept:
        if self.watched != NULL:
            unpark(self.watched)

    cdef int step_ended(self, int64_t now_ns) except -1:
        cdef list seen = self.seen_of_step()
        self.seen = []
        if seen:
            self.tell(
                self.step_took_too_long, ((now_ns - self.step_since_ns) * 1e-9, seen))
        return 0

    def judge_now(self):
        """Tell of the step that goes on, if it has taken too long. On the loop's thread."""
        if self.watched != NULL and self.loop._poller.pulse.overdue:
            self.loop._poller.pulse.overdue = 0
            self.step_ended(monotonic_ns())

    cdef int turned(self, int64_t now_ns) except -1:
        cdef list seen = self.seen
        cdef ObservedScheduler loop = self.loop
        if self.watched == NULL:
            return 0
        if loop._poller.pulse.asked_ns:
            count_lag(self.watched, now_ns - loop._poller.pulse.asked_ns)
            loop._poller.pulse.asked_ns = 0
        if loop._poller.pulse.crowded:
            loop._poller.pulse.crowded = 0
            self.seen = []
            self.tell(
                self.turn_took_too_long, ((now_ns - self.turn_since_ns) * 1e-9,
                                          loop._poller.pulse.step - self.first_step + 1, seen))
        if loop._poller.pulse.reminded:
            loop._poller.pulse.reminded = 0
            self.tell(self.reminder, ())
        return 0

    cdef int task_failed(self, object task) except -1:
        self.tell(self.task_has_failed, (task,))
        return 0

    cdef int tell(self, object method, tuple arguments) except -1:
        try:
            method(*arguments)
        except Exception as error:
            give_up(error)
        return 0

    # ---- what the thread says, with the GIL

    cdef int see(self, const Sighting *sighting) except -1:
        cdef int64_t now_ns = monotonic_ns()
        cdef int64_t threshold_ns = <int64_t>(self.threshold_s * 1e9)
        if sighting.turn != self.turn_seen:
            self.turn_seen = sighting.turn
            self.turn_is_told = self.turn_is_allowed = False
            self.seen = []
        if len(self.seen) < SIGHTINGS_MAX:
            task = current_task(self.loop)
            if (self.thread_id, id(task)) in ALLOWED:
                # What is left of the turn is not judged either: its time is not known apart.
                self.turn_is_told = self.turn_is_allowed = True
                self.allowed_step = sighting.step
            self.seen.append((
                sighting.step, (now_ns - sighting.step_begun_ns) * 1e-9, task,
                others_have_the_gil(sighting), *look(self.thread_id)))
        if self.turn_is_allowed and self.allowed_step == sighting.step:
            return 0
        if sighting.step_ns >= threshold_ns:
            # The loop's thread waits for the GIL, so the step cannot have ended yet.
            self.turn_is_told = True
            self.step_since_ns = sighting.step_begun_ns
            self.overdue_step = sighting.step
            self.loop._poller.pulse.overdue = 1
            if sighting.step_ns >= STUCK_NS and self.stuck_step != sighting.step:
                self.stuck_step = sighting.step
                self.tell(
                    self.step_is_stuck, (sighting.step_ns * 1e-9, self.seen_of_step()))
        elif sighting.turn_ns >= threshold_ns and not self.turn_is_told:
            self.turn_is_told = True
            self.turn_since_ns = now_ns - sighting.turn_ns
            self.first_step = sighting.first_step
            self.loop._poller.pulse.crowded = 1
            self.loop._poller.pulse.asked = 1
        return 0

    cdef int wake_loop(self) except -1:
        if self.loop is not None:
            self.loop.call_soon_threadsafe(do_nothing)
        return 0

    cdef list seen_of_step(self):
        return [one for one in self.seen if one[0] == self.overdue_step]


cdef void give_up(object error) noexcept:
    """Hand an error to sys.unraisablehook, as of everything that must not fail."""
    raise error


cdef bint others_have_the_gil(const Sighting *sighting) noexcept:
    """Whether the loop's thread seems to wait for the GIL: its own line is not to blame then.

    Other threads worked, and this one did not. And it was awake now and then, as whoever waits for
    the GIL is: it does not sleep in the kernel.
    """
    return (
        sighting.others_cpu_ns > sighting.elapsed_ns // 8
        and sighting.own_cpu_ns < sighting.others_cpu_ns // 2
        and sighting.own_slices > 0
    )


cpdef tuple look(unsigned long thread_id):
    """Return what a thread runs, and the kinds of the innermost function's variables.

    The first is a list from the innermost frame on: code, last instruction, line. The second has
    the type of each variable, with "self.name" for the attributes of self. Neither a frame nor a
    value is kept: the last reference to one would free it in this thread.
    """
    cdef list frames = []
    frame = current_frames().get(thread_id)
    kinds = {} if frame is None else kinds_in(frame)
    while frame is not None and len(frames) < FRAMES_MAX:
        frames.append((frame.f_code, frame.f_lasti, frame.f_lineno))
        frame = frame.f_back
    return frames, kinds


cdef dict kinds_in(object frame):
    cdef dict kinds = {}
    cdef dict variables = variables_of(frame)
    for name, value in variables.items():
        kinds[name] = type(value)
    if "self" in kinds:
        for name, value in tuple(attributes_of(variables["self"]).items())[:VARIABLES_MAX]:
            kinds["self." + str(name)] = type(value)
    return kinds


cpdef dict variables_of(object frame):
    """Return the variables of a function by their names. Nothing is changed by looking.

    Of a module, a class or a cell of a notebook there are none to return. Up to Python 3.12 a frame
    has one dictionary for all who ask, filled again each time. Nothing is left in it that would
    stay alive by it, unless somebody else has it as well. And a function that may have asked for it
    is not asked: it may be in the middle of it.
    """
    code = frame.f_code
    if not code.co_flags & CO_OPTIMIZED:
        return {}
    if SHARES_NAMES and not ASKS_FOR_NAMES.isdisjoint(code.co_names):
        return {}
    found = frame.f_locals
    variables = dict(found)
    # One reference is here, and one is the frame's.
    if SHARES_NAMES and Py_REFCNT(found) <= 2:
        (<dict>found).clear()
    return variables


cpdef dict attributes_of(object owner):
    """Return an object's attributes, without running anything of its class."""
    try:
        attributes = PyObject_GenericGetDict(owner, NULL)
    except AttributeError:
        return {}
    return attributes if type(attributes) is dict else {}


cdef void on_sighting(void *owner, const Sighting *sighting) noexcept:
    # A collection may run any code, and must not do it in this thread.
    cdef int was_collecting = PyGC_Disable()
    watchdog = <Watchdog>owner
    try:
        if sighting == NULL:
            watchdog.wake_loop()
        else:
            watchdog.see(sighting)
    finally:
        if was_collecting:
            PyGC_Enable()


cdef class Pair:
    cdef object first
    cdef object second

    def __call__(self, argument):
        self.first(argument)
        return self.second(argument)


def call_before(first, second):
    """Return a callable that calls `first` and then `second`, and adds no frame to the stack.

    The interpreter's own warnings are of the line that stands so many frames above.
    """
    cdef Pair pair = Pair.__new__(Pair)
    pair.first = first
    pair.second = second
    return pair


def do_nothing():
    """Wake a loop by running in it."""


def stop_for_a_fork():
    stop_dog(False)


def stop_for_good():
    stop_dog(True)


def resume_after_a_fork():
    resume_dog()


make_dog()
dog.on_sighting = on_sighting
pthread_atfork(NULL, NULL, forget_dog)
# A process with a second thread is warned when it forks, and rightly: so there is none meanwhile.
os.register_at_fork(before=stop_for_a_fork, after_in_parent=resume_after_a_fork)
# It must not ask for the GIL while the interpreter ends.
atexit.register(stop_for_good)
check_receivers(globals())
