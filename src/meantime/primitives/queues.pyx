# cython: embedsignature=True, embedsignature.format=clinic
"""Queue, PriorityQueue and LifoQueue."""
import asyncio
import heapq
import sys
import types

from meantime._core.receivers import check_receivers
from meantime.primitives.shutdown import QueueShutDown

cimport cython
from cpython.object cimport PyObject_Size, PyTypeObject

from meantime._core.coroutine cimport (
    FRESH,
    Coroutine,
    Spares,
    keep_spares,
    mark_coroutine_function,
    spare_or_new,
)
from meantime.primitives.faces cimport name_class_in_errors
from meantime.primitives.locks cimport Event
from meantime.primitives.waiters cimport (
    LoopBound,
    append,
    is_cancelled,
    is_done,
    new_line,
    pop_first,
    remove,
    wake,
)

QueueEmpty = asyncio.QueueEmpty
QueueFull = asyncio.QueueFull

cdef object heappush = heapq.heappush
cdef object heappop = heapq.heappop


cdef Spares spare_gets, spare_puts


@cython.final
cdef class Get(Coroutine):
    cdef Queue queue
    cdef object waiter

    def __cinit__(self):
        self.spares = &spare_gets

    cdef str qualified_name(self):
        return "Queue.get"

    cdef object begin(self):
        queue = self.queue
        if queue.is_plain() and PyObject_Size(queue.items) > 0:
            return self.finish(queue.hand_out())
        if queue.is_empty():
            if queue._is_shutdown and queue.is_empty():
                raise QueueShutDown
            self.waiter = queue.new_waiter()
            append(queue._getters, self.waiter)
            return self.waiter
        return self.finish((<object>queue).get_nowait())

    cdef object resume(self, object value):
        return self.begin()

    cdef object fail(self, object exception):
        queue = self.queue
        leave_line(queue._getters, self.waiter)
        if not queue.is_empty() and not is_cancelled(self.waiter):
            # It was woken for an item that it cannot take.
            wake_next(queue._getters)
        raise exception


@cython.final
cdef class Put(Coroutine):
    cdef Queue queue
    cdef object item
    cdef object waiter

    def __cinit__(self):
        self.spares = &spare_puts

    cdef str qualified_name(self):
        return "Queue.put"

    cdef object begin(self):
        queue = self.queue
        if queue.has_room_now():
            queue.take_in(self.item)
            return self.finish(None)
        if queue.is_full():
            if queue._is_shutdown:
                raise QueueShutDown
            self.waiter = queue.new_waiter()
            append(queue._putters, self.waiter)
            return self.waiter
        return self.finish((<object>queue).put_nowait(self.item))

    cdef object resume(self, object value):
        return self.begin()

    cdef object fail(self, object exception):
        queue = self.queue
        leave_line(queue._putters, self.waiter)
        if not queue.is_full() and not is_cancelled(self.waiter):
            # It was woken for room that it cannot use.
            wake_next(queue._putters)
        raise exception


@cython.final
cdef class Join(Coroutine):
    cdef Queue queue

    cdef str qualified_name(self):
        return "Queue.join"

    cdef object begin(self):
        if self.queue._unfinished_tasks > 0:
            return self.queue.finished_event().waiting()
        return self.finish(None)

    cdef object resume(self, object value):
        return self.finish(None)


cdef class Queue(LoopBound):
    """Queue(maxsize=0)\n--\n
    Hands items from those who put to those who get, in order.

    It is for the tasks of one event loop, and not for threads.

    Args:
        maxsize: how many items there may be before `put` waits; 0 or less for any number.
    """
    _state_names = (
        "_loop", "_maxsize", "_queue", "_getters", "_putters", "_unfinished_tasks", "_finished",
        "_is_shutdown",
    )

    __class_getitem__ = classmethod(types.GenericAlias)

    def __init__(self, maxsize=0):
        self._maxsize = maxsize
        self.getters = self.putters = self.finished = None
        self._unfinished_tasks = 0
        self._is_shutdown = False
        if self.is_plain():
            self.items = self.first_items()
        else:
            (<object>self)._init(maxsize)

    def __repr__(self):
        return f"<{type(self).__name__} at {id(self):#x} {self._format()}>"

    def __str__(self):
        return f"<{type(self).__name__} {self._format()}>"

    def _format(self):
        result = f"maxsize={self.bound!r}"
        if getattr(self, "_queue", None):
            result += f" _queue={list(self._queue)!r}"
        if self.getters:
            result += f" _getters[{len(self.getters)}]"
        if self.putters:
            result += f" _putters[{len(self.putters)}]"
        if self._unfinished_tasks:
            result += f" tasks={self._unfinished_tasks}"
        if self._is_shutdown:
            result += " shutdown"
        return result

    # ---- what a subclass may do otherwise

    def _init(self, maxsize):
        self.items = self.first_items()

    def _get(self):
        return self.take()

    def _put(self, item):
        self.add(item)

    cdef object first_items(self):
        return new_line()

    cdef int add(self, object item) except -1:
        return append(self.items, item)

    cdef object take(self):
        return pop_first(self.items)

    # ---- asyncio's private names, which subclasses and libraries use

    @property
    def _queue(self):
        if self.items is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute '_queue'")
        return self.items

    @_queue.setter
    def _queue(self, items):
        self.items = items

    @property
    def _maxsize(self):
        return self.bound

    @_maxsize.setter
    def _maxsize(self, maxsize):
        self.bound = maxsize
        self.limit = -1
        if type(maxsize) is int and maxsize <= sys.maxsize:
            self.limit = maxsize if maxsize > 0 else 0

    @property
    def _getters(self):
        if self.getters is None:
            self.getters = new_line()
        return self.getters

    @_getters.setter
    def _getters(self, getters):
        self.getters = getters

    @property
    def _putters(self):
        if self.putters is None:
            self.putters = new_line()
        return self.putters

    @_putters.setter
    def _putters(self, putters):
        self.putters = putters

    @property
    def _finished(self):
        return self.finished_event()

    @_finished.setter
    def _finished(self, finished):
        self.finished = finished

    def _wakeup_next(self, waiters):
        wake_next(waiters)

    # ---- what it is in

    @property
    def maxsize(self):
        """How many items there may be before `put` waits; 0 or less for any number."""
        return self.bound

    def qsize(self):
        """Return how many items there are."""
        return len(self._queue)

    def empty(self):
        """Return whether there are no items."""
        return not self._queue

    def full(self):
        """Return whether there are as many items as there may be."""
        if self.bound <= 0:
            return False
        return (<object>self).qsize() >= self.bound

    cdef bint is_empty(self) except -1:
        if self.is_plain():
            return PyObject_Size(self.items) == 0
        return (<object>self).empty()

    cdef bint is_full(self) except -1:
        if self.limit >= 0 and self.is_plain():
            return 0 < self.limit <= PyObject_Size(self.items)
        return (<object>self).full()

    cdef bint has_room_now(self) except -1:
        """Whether an item can be put in without asking anybody else."""
        if self._is_shutdown or self.limit < 0 or not self.is_plain():
            return False
        return self.limit == 0 or PyObject_Size(self.items) < self.limit

    # ---- put and get

    @cython.binding(True)
    def put(self, item):
        """Put an item in. While the queue is full, wait.

        Cancelling ends the wait; the item has not been put in.

        Raises:
            QueueShutDown: the queue was shut down.
        """
        cdef Put made = <Put>spare_or_new(&spare_puts)
        made.queue = self
        made.item = item
        made.stage = FRESH
        return made

    def put_nowait(self, item):
        """Put an item in.

        Raises:
            QueueFull: there is no room.
            QueueShutDown: the queue was shut down.
        """
        self.put_now(item)

    cdef int put_now(self, object item) except -1:
        if self._is_shutdown:
            raise QueueShutDown
        if self.is_full():
            raise QueueFull
        return self.take_in(item)

    cdef int take_in(self, object item) except -1:
        """Put an item where there is room, and wake who waits for it."""
        if self.is_plain():
            self.add(item)
        else:
            (<object>self)._put(item)
        self._unfinished_tasks += 1
        if self.finished is not None:
            self.finished._value = False
        if self.getters is not None:
            wake_next(self.getters)
        return 0

    @cython.binding(True)
    def get(self):
        """Take the next item out, and return it. While there is none, wait.

        Cancelling ends the wait; no item is lost.

        Raises:
            QueueShutDown: the queue was shut down, and is empty.
        """
        cdef Get made = <Get>spare_or_new(&spare_gets)
        made.queue = self
        made.stage = FRESH
        return made

    def get_nowait(self):
        """Take the next item out, and return it.

        Raises:
            QueueEmpty: there is none.
            QueueShutDown: there is none, and the queue was shut down.
        """
        return self.get_now()

    cdef object get_now(self):
        if self.is_empty():
            if self._is_shutdown:
                raise QueueShutDown
            raise QueueEmpty
        return self.hand_out()

    cdef object hand_out(self):
        """Take an item out that is there, and wake who waits for the room."""
        item = self.take() if self.is_plain() else (<object>self)._get()
        if self.putters is not None:
            wake_next(self.putters)
        return item

    # ---- the end of the work

    def task_done(self):
        """Say that the work on an item that was taken out is done.

        Raises:
            ValueError: it was said more often than items were put in.
        """
        if self._unfinished_tasks <= 0:
            raise ValueError("task_done() called too many times")
        self._unfinished_tasks -= 1
        if self._unfinished_tasks == 0 and self.finished is not None:
            self.finished.raise_flag()

    @cython.binding(True)
    def join(self):
        """Wait until the work on all items that were put in is done.

        Cancelling ends the wait and changes nothing.
        """
        cdef Join made = Join.__new__(Join)
        made.queue = self
        made.stage = FRESH
        return made

    def shutdown(self, immediate=False):
        """Let nothing more be put in, and wake all who wait.

        Those who get may take what is there, unless it is `immediate`: then it is thrown away, and
        counts as done.
        """
        self._is_shutdown = True
        if immediate:
            while not self.is_empty():
                if self.is_plain():
                    self.take()
                else:
                    (<object>self)._get()
                if self._unfinished_tasks > 0:
                    self._unfinished_tasks -= 1
            if self._unfinished_tasks == 0 and self.finished is not None:
                self.finished.raise_flag()
        for line in (self.getters, self.putters):
            while line:
                wake_next(line)

    cdef Event finished_event(self):
        if self.finished is None:
            self.finished = Event()
            self.finished._value = self._unfinished_tasks == 0
        return self.finished


cdef class PriorityQueue(Queue):
    """PriorityQueue(maxsize=0)\n--\n
    A queue that hands out the smallest item first; items are often (priority, data)."""

    cdef object first_items(self):
        return []

    cdef int add(self, object item) except -1:
        heappush(self.items, item)
        return 0

    cdef object take(self):
        return heappop(self.items)


cdef class LifoQueue(Queue):
    """LifoQueue(maxsize=0)\n--\n
    A queue that hands out the newest item first."""

    cdef object first_items(self):
        return []

    cdef int add(self, object item) except -1:
        self.items.append(item)
        return 0

    cdef object take(self):
        return self.items.pop()


cdef int wake_next(object line) except -1:
    """Wake the first that still waits, and take those before it out of the line."""
    while line:
        waiter = pop_first(line)
        if not is_done(waiter):
            wake(waiter, None)
            break
    return 0


cdef int leave_line(object line, object waiter) except -1:
    """Stop waiting. Whoever woke the waiter has taken it out of the line already."""
    waiter.cancel()
    try:
        remove(line, waiter)
    except ValueError:
        pass
    return 0


keep_spares(Get, &spare_gets)
keep_spares(Put, &spare_puts)
mark_coroutine_function(Queue.put)
mark_coroutine_function(Queue.get)
mark_coroutine_function(Queue.join)
name_class_in_errors(<PyTypeObject *>Queue)
name_class_in_errors(<PyTypeObject *>PriorityQueue)
name_class_in_errors(<PyTypeObject *>LifoQueue)
check_receivers(globals())
