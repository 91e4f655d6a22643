"""What is ready to run: handles, the queue of them, and the inbox that other threads fill."""
import asyncio
import contextvars
import threading
from asyncio import format_helpers

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF
from libc.stdlib cimport free, malloc

from meantime._core.calls cimport (
    call_and_exit,
    call_tuple_and_exit,
    context_enter,
    context_is_empty,
    take_exception,
)
from meantime._core.counters cimport COUNTING, count_instances, counts
from meantime._core.garbage cimport (
    GC_CLEAR_OF,
    GC_SET_CLEAR,
    GC_SET_TRAVERSE,
    GC_TRAVERSE_OF,
    inquiry,
    traverseproc,
    visitproc,
)
from meantime._core.kernel cimport (
    exchange_int,
    monotonic_ns,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)

cdef object HANDLE_FACE = asyncio.Handle
cdef object THREAD_SAFE_FACE = getattr(asyncio.events, "_ThreadSafeHandle", asyncio.Handle)
cdef object Lock = threading.RLock

cdef extern from "<sched.h>" nogil:
    int sched_yield()

# Where the interpreter looks whether another thread insists on the GIL.
cdef object python_code = eval("lambda: None")


cdef class Scheduler:
    cdef object blank_context(self):
        """Return a Context in which nothing is set.

        asyncio gives each callback a copy of the current context. Most often nothing is set in
        it, and then one empty Context serves them all, one after the other: as soon as a callback
        has set something in it, it is that callback's own, and the next one gets a new one.
        """
        if self.blank is None or not context_is_empty(self.blank):
            self.blank = contextvars.Context()
        return self.blank

    cdef int timer_was_cancelled(self) except -1:
        return 0


@cython.freelist(8192)
cdef class Handle:
    """A callback that will run once; what `call_soon` returns.

    It stands in for `asyncio.Handle`: `isinstance(handle, asyncio.Handle)` is true.
    """

    @property
    def __class__(self):
        return HANDLE_FACE

    def cancel(self):
        """Do not run the callback. Does nothing once it has run or was cancelled."""
        if self.is_cancelled:
            return
        self.is_cancelled = True
        if self.loop is not None and self.loop.debug:
            # What is cancelled forgets its callback, to free what it refers to. In debug mode
            # the description is kept.
            self.shown = repr(self)
        self.callback = None
        self.arg0 = self.arg1 = self.arg2 = None
        self.arg_count = 0

    def cancelled(self):
        """Return whether the handle was cancelled."""
        return self.is_cancelled

    def get_context(self):
        """Return the contextvars.Context that the callback runs in."""
        if self.is_blank:
            # Whoever asks may set something in it, and means it for this callback alone.
            self.is_blank = False
            self.context = contextvars.Context()
        return self.context

    def _run(self):
        self.run()

    def __repr__(self):
        if self.shown is not None:
            return self.shown
        parts = ["TimerHandle" if self._is_timer() else "Handle"]
        if self.is_cancelled:
            parts.append("cancelled")
        if self._is_timer():
            parts.append(f"when={self.when_s}")
        if self.callback is not None:
            parts.append(format_helpers._format_callback_source(self.callback, self.arguments()))
        if self.made_at:
            frame = self.made_at[len(self.made_at) - 1]
            parts.append(f"created at {frame[0]}:{frame[1]}")
        return f"<{' '.join(parts)}>"

    def _is_timer(self):
        return False

    # asyncio's private names, which debuggers and libraries read.
    @property
    def _callback(self):
        return self.callback

    @property
    def _args(self):
        return None if self.is_cancelled else self.arguments()

    @property
    def _cancelled(self):
        return self.is_cancelled

    @property
    def _loop(self):
        return self.loop

    @property
    def _context(self):
        return self.get_context()

    @property
    def _source_traceback(self):
        return self.made_at

    cdef void set_arguments(self, tuple arguments):
        """Hold all the arguments as one tuple."""
        self.arg0 = arguments
        self.arg_count = -1

    cdef tuple arguments(self):
        if self.arg_count < 0:
            return self.arg0
        return (self.arg0, self.arg1, self.arg2)[:self.arg_count]

    cdef int run(self) except -1:
        """Call the callback in its context.

        What it raises goes to the loop's exception handler. Only SystemExit and KeyboardInterrupt
        leave.
        """
        cdef PyObject *result
        # Held here: a callback that cancels its own handle makes the handle let go of them.
        callback = self.callback
        arg0 = self.arg0
        arg1 = self.arg1
        arg2 = self.arg2
        context = self.context
        if self.is_cancelled:
            return 0
        if self.is_blank and not context_is_empty(context):
            context = self.loop.blank_context()
        if context_enter(<PyObject *>context) < 0:
            return self.report(take_exception())
        if self.arg_count >= 0:
            result = call_and_exit(<PyObject *>context, <PyObject *>callback, self.arg_count,
                                   <PyObject *>arg0, <PyObject *>arg1, <PyObject *>arg2)
        else:
            result = call_tuple_and_exit(
                <PyObject *>context, <PyObject *>callback, <PyObject *>arg0)
        if result == NULL:
            # The exception handler runs in the context as the callback left it.
            self.context = context
            self.is_blank = False
            return self.report(take_exception())
        Py_DECREF(<object>result)
        return 0

    cdef int report(self, object exception) except -1:
        if isinstance(exception, (SystemExit, KeyboardInterrupt)):
            raise exception
        described = format_helpers._format_callback_source(self.callback, self.arguments())
        situation = {
            "message": f"Exception in callback {described}",
            "exception": exception,
            "handle": self,
        }
        if self.made_at:
            situation["source_traceback"] = self.made_at
        self.loop.call_exception_handler(situation)
        return 0


cdef int clear_handle(PyObject *owner) noexcept:
    """Do as `cancel`: whoever still finds the handle must find a whole one, on its loop."""
    (<Handle>owner).is_cancelled = True
    (<Handle>owner).arg_count = 0
    (<Handle>owner).callback = None
    (<Handle>owner).arg0 = (<Handle>owner).arg1 = (<Handle>owner).arg2 = None
    return 0


GC_SET_CLEAR(<PyTypeObject *>Handle, clear_handle)
if COUNTING:
    count_instances(<PyTypeObject *>Handle, &counts.handles, NULL)


cdef class ThreadSafeHandle(Handle):
    """A handle that other threads may cancel: they wait while its callback runs.

    So when cancel() or cancelled() returns in one of them, the callback has not begun and never
    will, or it has ended. That is what asyncio promises from Python 3.14 on.
    """

    def __cinit__(self):
        # The callback may cancel its own handle, hence a lock that its holder can take again.
        self.lock = Lock()

    @property
    def __class__(self):
        return THREAD_SAFE_FACE

    def cancel(self):
        """Do not run the callback. Does nothing once it has run or was cancelled."""
        with self.lock:
            Handle.cancel(self)

    def cancelled(self):
        """Return whether the handle was cancelled."""
        with self.lock:
            return self.is_cancelled

    cdef int run(self) except -1:
        with self.lock:
            return Handle.run(self)


cdef class Queue:
    def __cinit__(self):
        self.items = <PyObject **>malloc(64 * sizeof(PyObject *))
        if self.items == NULL:
            raise MemoryError()
        self.mask = 63

    def __dealloc__(self):
        self.clear()
        free(self.items)

    cdef int grow(self) except -1:
        cdef Py_ssize_t size = (self.mask + 1) * 2
        cdef Py_ssize_t index
        cdef PyObject **items = <PyObject **>malloc(size * sizeof(PyObject *))
        if items == NULL:
            raise MemoryError()
        for index in range(self.count):
            items[index] = self.items[(self.head + index) & self.mask]
        free(self.items)
        self.items = items
        self.head = 0
        self.mask = size - 1
        return 0

    cdef void swap(self, Queue other) noexcept:
        """Exchange the contents of two queues, however long."""
        self.items, other.items = other.items, self.items
        self.mask, other.mask = other.mask, self.mask
        self.head, other.head = other.head, self.head
        self.count, other.count = other.count, self.count

    cdef void clear(self):
        while self.count:
            self.pop()


cdef int visit_queue(PyObject *owner, visitproc visit, void *argument) noexcept:
    cdef int result = queue_traverse(owner, visit, argument)
    cdef Py_ssize_t index
    for index in range((<Queue>owner).count):
        if result:
            break
        result = visit(
            (<Queue>owner).items[((<Queue>owner).head + index) & (<Queue>owner).mask], argument)
    return result


cdef int clear_queue(PyObject *owner) noexcept:
    (<Queue>owner).clear()
    return queue_clear(owner)


cdef traverseproc queue_traverse = GC_TRAVERSE_OF(<PyTypeObject *>Queue)
cdef inquiry queue_clear = GC_CLEAR_OF(<PyTypeObject *>Queue)
GC_SET_TRAVERSE(<PyTypeObject *>Queue, visit_queue)
GC_SET_CLEAR(<PyTypeObject *>Queue, clear_queue)


# Its queue clears itself, and must be there as long as a thread can post.
@cython.no_gc_clear
cdef class Inbox:
    """What other threads want the loop to run.

    Waking a sleeping loop costs a system call, so it is only done when the loop sleeps, and once.
    The order of the steps makes it impossible to miss one another: the loop says that it will
    sleep and then looks into the inbox; the other thread puts in and then looks whether the loop
    sleeps.
    """

    def __cinit__(self):
        pthread_mutex_init(&self.lock, NULL)
        self.arrived = Queue()

    def __dealloc__(self):
        pthread_mutex_destroy(&self.lock)

    cdef int post(self, Handle handle) except -1:
        """Put `handle` in. Returns 1 when the loop sleeps and the caller must wake it."""
        pthread_mutex_lock(&self.lock)
        try:
            self.arrived.push(handle)
        finally:
            pthread_mutex_unlock(&self.lock)
        return exchange_int(&self.asleep, 0)

    cdef int take(self, Queue ready) except -1:
        """Move all that has arrived to `ready`."""
        if self.arrived.count == 0:
            return 0
        pthread_mutex_lock(&self.lock)
        try:
            if ready.count == 0:
                self.arrived.swap(ready)
            while self.arrived.count:
                ready.push(self.arrived.pop())
        finally:
            pthread_mutex_unlock(&self.lock)
        return 0

    cdef bint fall_asleep(self) noexcept:
        """Say that the loop is about to sleep. False when it must not, for something is here."""
        exchange_int(&self.asleep, 1)
        if load_count(self.arrived) == 0:
            return True
        self.asleep = 0
        return False

    cdef void wake_up(self) noexcept:
        exchange_int(&self.asleep, 0)


cdef Py_ssize_t load_count(Queue queue) noexcept:
    return queue.count


cdef int breathe() except -1:
    """Let signals and other threads have their turn.

    Python's interpreter does it while callbacks are Python code. A loop whose callbacks are all
    compiled, and that never sleeps, must do it itself.

    A thread that waits for the GIL is woken each time it is let go of, most often too late, and its
    patience begins anew: only after a switch interval in peace may it insist. So this lets go often
    most of the time, and now and then not at all for longer than that.
    """
    PyErr_CheckSignals()
    if (monotonic_ns() >> 21) % 16 >= 3:
        with nogil:
            sched_yield()
    else:
        # The interpreter hands the GIL over here to whoever insists.
        python_code()
    return 0
