# cython: embedsignature=True, embedsignature.format=clinic
"""Lock and Event."""
from asyncio.exceptions import CancelledError

from meantime._core.receivers import check_receivers

cimport cython
from cpython.object cimport PyTypeObject

from meantime._core.coroutine cimport FRESH, Coroutine, Spares, mark_coroutine_function
from meantime.primitives.acquirable cimport Acquirable, BoundCall, make_bound_call, new_call
from meantime.primitives.faces cimport name_class_in_errors
from meantime.primitives.waiters cimport (
    LoopBound,
    all_cancelled,
    append,
    described,
    is_done,
    new_line,
    remove,
    wake,
)

cdef Spares spare_enters


cdef class AcquireLock(BoundCall):
    cdef object waiter

    cdef str qualified_name(self):
        return "Lock.acquire"

    cdef bint ends_at_once(self) except -1:
        lock = <Lock>self.owner
        if lock._locked or (lock._waiters and not all_cancelled(lock._waiters)):
            return False
        lock._locked = True
        return True

    cdef object begin(self):
        lock = <Lock>self.owner
        if self.ends_at_once():
            return self.acquired()
        self.waiter = lock.new_waiter()
        if lock._waiters is None:
            lock._waiters = new_line()
        append(lock._waiters, self.waiter)
        return self.waiter

    cdef object resume(self, object value):
        lock = <Lock>self.owner
        remove(lock._waiters, self.waiter)
        lock._locked = True
        return self.acquired()

    cdef object fail(self, object exception):
        lock = <Lock>self.owner
        remove(lock._waiters, self.waiter)
        # It may have been this one's turn, which the next in line now has.
        if isinstance(exception, CancelledError) and not lock._locked:
            lock.wake_first()
        raise exception

    cdef object acquired(self):
        return self.finish(True)


@cython.final
cdef class EnterLock(AcquireLock):
    def __cinit__(self):
        self.spares = &spare_enters

    cdef str qualified_name(self):
        return "Lock.__aenter__"

    cdef BoundCall another(self):
        return (<Lock>self.owner).entering()

    cdef object acquired(self):
        return self.finish(None)


cdef class Lock(Acquirable):
    """Lock()\n--\n
    A lock for tasks. Those who wait for it get it in the order in which they came.

    It belongs to no task: whoever has it may release it. `async with lock:` acquires it, and
    releases it at the end.
    """
    _state_names = ("_loop", "_waiters", "_locked")

    def __init__(self):
        self._waiters = None
        self._locked = False

    def __repr__(self):
        return described(self, "locked" if self._locked else "unlocked", self._waiters)

    def locked(self):
        """Return whether the lock is held."""
        return self._locked

    @cython.binding(True)
    def acquire(self):
        """Wait until the lock is free, hold it, and return True.

        Cancelling ends the wait; the lock then goes to the next in line.
        """
        cdef AcquireLock made = AcquireLock.__new__(AcquireLock)
        made.owner = self
        made.stage = FRESH
        return made

    def release(self):
        """Free the lock. The first of those who wait for it gets it.

        Raises:
            RuntimeError: nobody holds it.
        """
        self.let_go()

    def _wake_up_first(self):
        self.wake_first()

    cdef BoundCall entering(self):
        return new_call(&spare_enters, self)

    cdef int let_go(self) except -1:
        if not self._locked:
            raise RuntimeError("Lock is not acquired.")
        self._locked = False
        return self.wake_first()

    cdef int wake_first(self) except -1:
        # One that is done already is on its way, and takes the lock or wakes the next itself.
        if self._waiters:
            first = self._waiters[0]
            if not is_done(first):
                wake(first, True)
        return 0


# ---- Event


@cython.final
cdef class WaitForEvent(Coroutine):
    cdef Event event
    cdef object waiter

    cdef str qualified_name(self):
        return "Event.wait"

    cdef object begin(self):
        if self.event._value:
            return self.finish(True)
        self.waiter = self.event.new_waiter()
        append(self.event._waiters, self.waiter)
        return self.waiter

    cdef object resume(self, object value):
        remove(self.event._waiters, self.waiter)
        return self.finish(True)

    cdef object fail(self, object exception):
        remove(self.event._waiters, self.waiter)
        raise exception


cdef class Event(LoopBound):
    """Event()\n--\n
    A flag that tasks can wait for. It begins unset."""
    _state_names = ("_loop", "_waiters", "_value")

    def __init__(self):
        self.waiters = None
        self._value = False

    def __repr__(self):
        return described(self, "set" if self._value else "unset", self.waiters)

    @property
    def _waiters(self):
        if self.waiters is None:
            self.waiters = new_line()
        return self.waiters

    @_waiters.setter
    def _waiters(self, waiters):
        self.waiters = waiters

    def is_set(self):
        """Return whether the flag is set."""
        return self._value

    def set(self):
        """Set the flag, and wake all who wait for it."""
        self.raise_flag()

    def clear(self):
        """Unset the flag. Those who wait from now on wait for the next `set`."""
        self._value = False

    @cython.binding(True)
    def wait(self):
        """Wait until the flag is set, and return True.

        Cancelling ends the wait and changes nothing.
        """
        return self.waiting()

    cdef object waiting(self):
        cdef WaitForEvent made = WaitForEvent.__new__(WaitForEvent)
        made.event = self
        made.stage = FRESH
        return made

    cdef int raise_flag(self) except -1:
        if self._value:
            return 0
        self._value = True
        if self.waiters is not None:
            for waiter in self.waiters:
                if not is_done(waiter):
                    wake(waiter, True)
        return 0


mark_coroutine_function(Lock.acquire)
mark_coroutine_function(Event.wait)
name_class_in_errors(<PyTypeObject *>Lock)
name_class_in_errors(<PyTypeObject *>Event)
make_bound_call(EnterLock, &spare_enters)
check_receivers(globals())
