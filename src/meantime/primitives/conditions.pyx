# cython: embedsignature=True, embedsignature.format=clinic
"""Condition and Barrier."""
import asyncio
import enum
from asyncio.exceptions import BrokenBarrierError, CancelledError

from meantime._core.receivers import check_receivers

cimport cython
from cpython.object cimport PyTypeObject

from meantime._core.coroutine cimport FRESH, Coroutine, mark_coroutine_function
from meantime.primitives.acquirable cimport Acquirable
from meantime.primitives.faces cimport name_class_in_errors
from meantime.primitives.locks cimport Lock
from meantime.primitives.waiters cimport (
    LoopBound,
    append,
    described,
    is_done,
    new_line,
    remove,
    wake,
)

# From CPython 3.13 on (and late in 3.11 and 3.12), a notified task that fails to return notifies
# another one in its place, and the very exception that cancelled it leaves it.
cdef bint NOTIFIES_ANOTHER = hasattr(asyncio.Condition, "_notify")


class BarrierState(enum.Enum):
    FILLING = "filling"
    DRAINING = "draining"
    RESETTING = "resetting"
    BROKEN = "broken"


cdef tuple METHODS_OF_LOCK = ("locked", "acquire", "release")


@cython.final
cdef class WaitForNotice(Coroutine):
    """Gives the lock away, waits to be notified, and takes the lock again, whatever happens."""
    cdef Condition condition
    cdef object waiter
    cdef bint notice_came         # or an exception: what is left is to get the lock
    cdef object failure           # what ended the wait
    cdef object cancellation      # the last that came while it waited for the lock

    cdef str qualified_name(self):
        return "Condition.wait"

    cdef object begin(self):
        condition = self.condition
        if not (<object>condition).locked():
            raise RuntimeError("cannot wait on un-acquired lock")
        if NOTIFIES_ANOTHER:
            self.waiter = condition.new_waiter()
            (<object>condition).release()
        else:
            (<object>condition).release()
            try:
                self.waiter = condition.new_waiter()
            except BaseException as error:
                return self.take_lock(error)
        append(condition._waiters, self.waiter)
        return self.waiter

    cdef object resume(self, object value):
        if not self.notice_came:
            remove(self.condition._waiters, self.waiter)
            return self.take_lock(None)
        if self.cancellation is not None:
            error = self.cancellation if NOTIFIES_ANOTHER else CancelledError()
        elif self.failure is not None:
            error = self.failure
        else:
            return self.finish(True)
        self.failure = self.cancellation = None
        return self.give_up(error)

    cdef object fail(self, object exception):
        if not self.notice_came:
            remove(self.condition._waiters, self.waiter)
            return self.take_lock(exception)
        if isinstance(exception, CancelledError):
            self.cancellation = exception
            return (<object>self.condition).acquire()
        return self.give_up(exception)

    cdef object take_lock(self, object failure):
        self.notice_came = True
        self.failure = failure
        return (<object>self.condition).acquire()

    cdef object give_up(self, object error):
        if NOTIFIES_ANOTHER:
            # It may have been notified, and cannot act on it.
            self.condition.notify_some(1)
        raise error


@cython.final
cdef class WaitForPredicate(Coroutine):
    cdef Condition condition
    cdef object predicate

    cdef str qualified_name(self):
        return "Condition.wait_for"

    cdef object begin(self):
        result = self.predicate()
        if result:
            return self.finish(result)
        return (<object>self.condition).wait()

    cdef object resume(self, object value):
        return self.begin()


cdef class Condition(Acquirable):
    """Condition(lock=None)\n--\n
    Lets tasks that hold a lock wait until another one has changed something.

    Args:
        lock: what to hold; by default a new Lock.
    """
    _state_names = ("_loop", "_lock", "_waiters")

    def __init__(self, lock=None):
        if lock is None:
            lock = Lock()
        self.waiters = None
        self.take(lock)

    cdef int take(self, object lock) except -1:
        self._lock = lock
        # As on asyncio they are the object's own, and come before those of a subclass.
        own = (<object>self).__dict__
        for name in METHODS_OF_LOCK:
            own[name] = getattr(lock, name)
        return 0

    def __getstate__(self):
        state = LoopBound.__getstate__(self)
        for name in METHODS_OF_LOCK:
            if state.get(name) == getattr(self._lock, name):
                del state[name]
        return state

    def __setstate__(self, dict state):
        self.take(state["_lock"])
        LoopBound.__setstate__(self, state)

    def __repr__(self):
        return described(self, "locked" if (<object>self).locked() else "unlocked", self.waiters)

    @property
    def _waiters(self):
        if self.waiters is None:
            self.waiters = new_line()
        return self.waiters

    @_waiters.setter
    def _waiters(self, waiters):
        self.waiters = waiters

    @cython.binding(True)
    def wait(self):
        """Give the lock away, wait to be notified, take the lock again, and return True.

        It may return without a notice: look again at what you wait for, or use `wait_for`.

        Cancelling ends the wait, but not before the lock is held again.

        Raises:
            RuntimeError: the lock is not held.
        """
        cdef WaitForNotice made = WaitForNotice.__new__(WaitForNotice)
        made.condition = self
        made.stage = FRESH
        return made

    @cython.binding(True)
    def wait_for(self, predicate):
        """Wait until `predicate()` is true, and return what it gave.

        Cancelling is as for `wait`.
        """
        cdef WaitForPredicate made = WaitForPredicate.__new__(WaitForPredicate)
        made.condition = self
        made.predicate = predicate
        made.stage = FRESH
        return made

    def notify(self, n=1):
        """Wake `n` of those who wait. They go on when they have got the lock.

        Raises:
            RuntimeError: the lock is not held.
        """
        if not (<object>self).locked():
            raise RuntimeError("cannot notify on un-acquired lock")
        self.notify_some(n)

    def notify_all(self):
        """Wake all who wait. They go on, one after the other, when they have got the lock.

        Raises:
            RuntimeError: the lock is not held.
        """
        (<object>self).notify(len(self._waiters))

    def _notify(self, n):
        self.notify_some(n)

    cdef int notify_some(self, object count) except -1:
        woken = 0
        if self.waiters is not None:
            for waiter in self.waiters:
                if woken >= count:
                    break
                if not is_done(waiter):
                    woken += 1
                    wake(waiter, False)
        return 0


# ---- Barrier


def refusal_of_no_parties():
    try:
        asyncio.Barrier(0)
    except ValueError as error:
        return str(error)


cdef str NO_PARTIES = refusal_of_no_parties()


cdef class Barrier(LoopBound):
    """Barrier(parties)\n--\n
    Lets a number of tasks go on when all of them have come.

    Args:
        parties: how many tasks, at least 1.
    """
    _state_names = ("_loop", "_cond", "_parties", "_state", "_count")

    def __init__(self, parties):
        if parties < 1:
            raise ValueError(NO_PARTIES)
        self._cond = Condition()
        self._parties = parties
        self._state = BarrierState.FILLING
        self._count = 0

    def __repr__(self):
        extra = self._state.value
        if not self.broken:
            extra += f", waiters:{self.n_waiting}/{self.parties}"
        return described(self, extra, None)

    @cython.binding(True)
    async def __aenter__(self):
        return await (<object>self).wait()

    @cython.binding(True)
    async def __aexit__(self, exc_type=None, exc=None, tb=None):
        pass

    @cython.binding(True)
    async def wait(self):
        """Wait until as many tasks as the barrier has parties do so.

        Returns:
            A number from 0 to `parties - 1`, another one for each task.

        Cancelling ends the wait; the barrier then waits for another task.

        Raises:
            BrokenBarrierError: the barrier was reset meanwhile, or it is broken.
        """
        async with self._cond:
            await self._block()
            try:
                index = self._count
                self._count += 1
                if index + 1 == self._parties:
                    await self._release()
                else:
                    await self._wait()
                return index
            finally:
                self._count -= 1
                self._exit()

    @cython.binding(True)
    async def _block(self):
        """Wait while those of the last round leave."""
        leaving = (BarrierState.DRAINING, BarrierState.RESETTING)
        await self._cond.wait_for(lambda: self._state not in leaving)
        if self._state is BarrierState.BROKEN:
            raise BrokenBarrierError("Barrier aborted")

    @cython.binding(True)
    async def _release(self):
        self._state = BarrierState.DRAINING
        self._cond.notify_all()

    @cython.binding(True)
    async def _wait(self):
        await self._cond.wait_for(lambda: self._state is not BarrierState.FILLING)
        if self._state in (BarrierState.BROKEN, BarrierState.RESETTING):
            raise BrokenBarrierError("Abort or reset of barrier")

    def _exit(self):
        if self._count == 0:
            if self._state in (BarrierState.RESETTING, BarrierState.DRAINING):
                self._state = BarrierState.FILLING
            self._cond.notify_all()

    @cython.binding(True)
    async def reset(self):
        """Make the barrier as it was at first. Those who wait get a BrokenBarrierError."""
        async with self._cond:
            if self._count > 0:
                self._state = BarrierState.RESETTING
            else:
                self._state = BarrierState.FILLING
            self._cond.notify_all()

    @cython.binding(True)
    async def abort(self):
        """Break the barrier: those who wait, and who come, get a BrokenBarrierError."""
        async with self._cond:
            self._state = BarrierState.BROKEN
            self._cond.notify_all()

    @property
    def parties(self):
        """How many tasks must come."""
        return self._parties

    @property
    def n_waiting(self):
        """How many tasks wait now."""
        return self._count if self._state is BarrierState.FILLING else 0

    @property
    def broken(self):
        """Whether the barrier is broken."""
        return self._state is BarrierState.BROKEN


mark_coroutine_function(Condition.wait)
mark_coroutine_function(Condition.wait_for)
name_class_in_errors(<PyTypeObject *>Condition)
name_class_in_errors(<PyTypeObject *>Barrier)
check_receivers(globals())
