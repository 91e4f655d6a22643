# cython: binding=True
"""as_completed: awaitables in the order in which they end."""
import asyncio
import inspect
import sys
from collections import deque

cimport cython

from meantime._core.coroutine cimport FRESH, Coroutine
from meantime.primitives import limits
from meantime.primitives.loops cimport (
    add_awaiter,
    cancel_handle,
    current_task,
    discard_awaiter,
    ensure_future,
    new_wait,
)

cdef object get_event_loop = asyncio.events.get_event_loop
cdef object get_running_loop = asyncio._get_running_loop

# Up to Python 3.12 as_completed is a generator, which does nothing before its first item.
cdef bint BEGINS_LATE = sys.version_info < (3, 13)


@cython.final
cdef class Next(Coroutine):
    """Waits for the next one that is done."""
    cdef Completions completions
    cdef object getter
    cdef bint gives_future        # itself, and not its result
    cdef bint counts              # takes one of those that are left when it begins

    cdef str qualified_name(self):
        if self.gives_future:
            return "as_completed.__anext__"
        return "as_completed.__next__"

    cdef object begin(self):
        if self.counts:
            if self.completions.left == 0:
                raise StopAsyncIteration
            self.completions.left -= 1
        return self.take_or_wait()

    cdef object take_or_wait(self):
        cdef Completions completions = self.completions
        if not completions.done:
            self.getter = new_wait(completions.loop)
            completions.getters.append(self.getter)
            return self.getter
        future = completions.done.popleft()
        if future is None:
            raise TimeoutError
        return self.finish(future if self.gives_future else future.result())

    cdef object resume(self, object value):
        return self.take_or_wait()

    cdef object fail(self, object exception):
        cdef Completions completions = self.completions
        self.getter.cancel()
        try:
            completions.getters.remove(self.getter)
        except ValueError:
            pass
        if completions.done and not self.getter.cancelled():
            # It was woken for one that it does not take.
            completions.wake_next()
        raise exception


@cython.final
cdef class Completions:
    """What `as_completed` returns: an iterator of coroutines, and an async iterator of futures."""
    cdef object __weakref__
    cdef object given             # until it begins
    cdef object timeout
    cdef object loop
    cdef object task
    cdef object timer
    cdef set pending
    cdef object done              # futures that are done and not asked for; None: the time is over
    cdef object getters           # futures of those who wait for one
    cdef Py_ssize_t left          # how many have not been asked for

    def __aiter__(self):
        return self

    def __iter__(self):
        return self

    def __anext__(self):
        """Wait for the next future that is done, and return it.

        Raises:
            TimeoutError: the time is over.
        """
        cdef Next made = Next.__new__(Next)
        self.begin()
        made.completions = self
        made.gives_future = made.counts = True
        made.stage = FRESH
        return made

    def __next__(self):
        cdef Next made
        self.begin()
        if self.left == 0:
            raise StopIteration
        self.left -= 1
        made = Next.__new__(Next)
        made.completions = self
        made.stage = FRESH
        return made

    cdef int begin(self) except -1:
        """Start all of them, the first time."""
        if self.given is None:
            return 0
        given, self.given = self.given, None
        if BEGINS_LATE:
            check_given(given)
        self.done = deque()
        self.getters = deque()
        self.loop = get_event_loop()
        self.task = current_task(self.loop) if get_running_loop() is self.loop else None
        pending = {ensure_future(awaitable, self.loop) for awaitable in set(given)}
        on_done = self.one_is_done
        for future in pending:
            future.add_done_callback(on_done)
            if self.task is not None:
                add_awaiter(future, self.task)
        if pending and self.timeout is not None:
            self.timer = self.loop.call_later(self.timeout, self.time_is_over)
        self.pending = pending
        self.left = len(pending)
        return 0

    @cython.binding(False)
    def one_is_done(self, future):
        """Keep a future that is done, for who asks next."""
        if not self.pending:
            # The time was over first.
            return
        self.pending.remove(future)
        if self.task is not None:
            discard_awaiter(future, self.task)
        self.done.append(future)
        self.wake_next()
        if not self.pending and self.timer is not None:
            cancel_handle(self.timer)

    @cython.binding(False)
    def time_is_over(self):
        """Give TimeoutError to all who ask from now on."""
        on_done = self.one_is_done
        for future in self.pending:
            future.remove_done_callback(on_done)
            if self.task is not None:
                discard_awaiter(future, self.task)
            self.done.append(None)
            self.wake_next()
        self.pending.clear()

    cdef int wake_next(self) except -1:
        while self.getters:
            getter = self.getters.popleft()
            if not getter.done():
                getter.set_result(None)
                break
        return 0


cdef int check_given(object given) except -1:
    if inspect.isawaitable(given):
        raise TypeError(f"expects an iterable of awaitables, not {type(given).__name__}")
    return 0


def as_completed(fs, *, timeout=None, limit=None):
    """Iterate over awaitables in the order in which they end.

    `async for future in as_completed(fs)` gives the futures themselves, which are done then, and
    tasks for coroutines. `for coroutine in as_completed(fs)` gives coroutines, each of which
    returns the next result, or raises.

    Args:
        fs: an iterable of coroutines and futures; with `limit`, also an async iterable.
        timeout: after how many seconds TimeoutError is raised for all that are not done; None for
            never. They go on.
        limit: how many may run at once; None for all. `fs` is read as there is room.

    Raises:
        TypeError: `fs` is not an iterable.
        ValueError: `limit` is less than 1.
    """
    cdef Completions made
    if limit is not None:
        return limits.as_completed(fs, timeout, limit)
    if not BEGINS_LATE:
        check_given(fs)
    made = Completions.__new__(Completions)
    made.given = fs
    made.timeout = timeout
    if not BEGINS_LATE:
        made.begin()
    return made
