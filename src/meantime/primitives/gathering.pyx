# cython: binding=True
"""gather: the results of many awaitables, in the order in which they were given."""
import asyncio
import sys

cimport cython

from meantime._core.receivers import check_receivers
from meantime.primitives import limits
from meantime.primitives.loops cimport (
    add_awaiter,
    add_callback,
    current_task,
    discard_awaiter,
    ensure_future,
    exception_of,
    forget_quietly,
    loop_of,
    result_of,
    was_cancelled,
)

cdef object CancelledError = asyncio.CancelledError
cdef object get_event_loop = asyncio.events.get_event_loop
cdef object get_running_loop = asyncio._get_running_loop

# From Python 3.12 on what is done already is counted at once, not in the next turn.
cdef bint COUNTS_DONE_AT_ONCE = sys.version_info >= (3, 12)

# From Python 3.14 on the running loop is the one that all futures must be on.
cdef bint ASKS_RUNNING_LOOP = sys.version_info >= (3, 14)


class _GatheringFuture(asyncio.Future):
    """The future of a gather: cancelling it cancels the children, and waits until they have ended.

    It has asyncio's name for it, which its repr shows.
    """

    def __init__(self, children, *, loop):
        super().__init__(loop=loop)
        self._children = children
        self._cancel_requested = False

    def cancel(self, msg=None):
        """Cancel the children that are not done. Returns whether there was one."""
        if self.done():
            return False
        is_any_cancelled = False
        for child in self._children:
            if child.cancel(msg=msg):
                is_any_cancelled = True
        if is_any_cancelled:
            self._cancel_requested = True
        return is_any_cancelled


@cython.final
cdef class Gathering:
    """What a gather counts on."""
    cdef object outer
    cdef list children
    cdef Py_ssize_t left          # different futures that are not done
    cdef bint returns_exceptions
    cdef object task

    @cython.binding(False)
    def child_is_done(self, child):
        """Count a child. The last one completes the gather, or the first that fails."""
        cdef object outer = self.outer
        self.left -= 1
        if self.task is not None:
            discard_awaiter(child, self.task)
        if outer is None or outer.done():
            if not was_cancelled(child):
                # Nobody else will ask for it.
                exception_of(child)
            return
        if not self.returns_exceptions:
            if was_cancelled(child):
                outer.set_exception(child._make_cancelled_error())
                return
            exception = exception_of(child)
            if exception is not None:
                outer.set_exception(exception)
                return
        if self.left == 0:
            results = self.results()
            if outer._cancel_requested:
                # The cancellation goes on, whatever the children made of it. asyncio asks the last
                # child for its message.
                outer.set_exception(self.children[len(self.children) - 1]._make_cancelled_error())
            else:
                outer.set_result(results)

    @cython.binding(False)
    def outer_is_done(self, outer):
        """Tell the children that are left that the task does not await them any more."""
        for child in self.children:
            discard_awaiter(child, self.task)

    cdef list results(self):
        cdef list results = []
        for child in self.children:
            if not self.returns_exceptions:
                # None has failed, or the gather would be over.
                results.append(result_of(child))
                continue
            if child.cancelled():
                message = child._cancel_message
                results.append(CancelledError("" if message is None else message))
                continue
            exception = child.exception()
            results.append(child.result() if exception is None else exception)
        return results


cdef object gather_all(tuple awaitables, bint returns_exceptions):
    cdef Gathering gathering = Gathering.__new__(Gathering)
    cdef dict futures = {}
    cdef list children = [], done = []
    cdef Py_ssize_t before
    loop = None
    on_done = gathering.child_is_done
    if ASKS_RUNNING_LOOP:
        loop = get_running_loop()
        if loop is not None:
            gathering.task = current_task(loop)
    gathering.returns_exceptions = returns_exceptions
    gathering.children = children
    for awaitable in awaitables:
        before = len(futures)
        child = futures.setdefault(awaitable, awaitable)
        if len(futures) == before:
            # Given twice, and counted once.
            children.append(child)
            continue
        child = ensure_future(awaitable, loop)
        if loop is None:
            loop = loop_of(child)
        if child is not awaitable:
            futures[awaitable] = child
            # Nobody else has the task, so nobody else can be to blame for leaving it.
            forget_quietly(child)
        gathering.left += 1
        if COUNTS_DONE_AT_ONCE and child.done():
            done.append(child)
        else:
            if gathering.task is not None:
                add_awaiter(child, gathering.task)
            add_callback(child, on_done)
        children.append(child)
    gathering.outer = outer = _GatheringFuture(children, loop=loop)
    if gathering.task is not None:
        outer.add_done_callback(gathering.outer_is_done)
    for child in done:
        on_done(child)
    return outer


def gather(*coros_or_futures, return_exceptions=False, limit=None):
    """Await many things at once, and return a future of the list of their results, in their order.

    Args:
        coros_or_futures: coroutines, which become tasks, and futures. With `limit`, this may also
            be one iterable or async iterable of such, which is read as there is room.
        return_exceptions: put exceptions into the list, where otherwise the first one is raised at
            once and the others go on.
        limit: how many may run at once; None for all. After the first exception, or a cancellation,
            no more are started.

    Cancelling the future cancels all that are not done.

    Raises:
        ValueError: `limit` is less than 1, or a future is of another loop.
        TypeError: one of them cannot be awaited.
    """
    if limit is not None:
        return limits.gather(coros_or_futures, limit, return_exceptions)
    if not coros_or_futures:
        outer = get_event_loop().create_future()
        outer.set_result([])
        return outer
    return gather_all(coros_or_futures, return_exceptions)


check_receivers(globals())
