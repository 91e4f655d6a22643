# cython: embedsignature=True, embedsignature.format=clinic
"""Semaphore and BoundedSemaphore."""
import asyncio
from asyncio.exceptions import CancelledError

from meantime._core.receivers import check_receivers

cimport cython
from cpython.object cimport PyTypeObject

from meantime._core.coroutine cimport FRESH, Spares, mark_coroutine_function
from meantime.primitives.acquirable cimport Acquirable, BoundCall, make_bound_call, new_call
from meantime.primitives.faces cimport name_class_in_errors
from meantime.primitives.waiters cimport (
    all_cancelled,
    append,
    described,
    is_cancelled,
    is_done,
    new_line,
    remove,
    wake,
)

# From CPython 3.11.8 and 3.12.2 on, whoever has waited for a semaphore wakes as many as its value
# allows. Before, one at most. asyncio's own says which it is: there, it tells whether it woke one.
cdef bint WAKES_AS_MANY = asyncio.Semaphore(0)._wake_up_next() is False

cdef Spares spare_enters


cdef class AcquireSemaphore(BoundCall):
    cdef object waiter

    cdef str qualified_name(self):
        return "Semaphore.acquire"

    cdef bint ends_at_once(self) except -1:
        return self.owner.is_plain() and (<Semaphore>self.owner).takes_one()

    cdef object begin(self):
        semaphore = <Semaphore>self.owner
        if semaphore.takes_one():
            return self.acquired()
        self.waiter = semaphore.new_waiter()
        if semaphore._waiters is None:
            semaphore._waiters = new_line()
        append(semaphore._waiters, self.waiter)
        return self.waiter

    cdef object resume(self, object value):
        semaphore = <Semaphore>self.owner
        remove(semaphore._waiters, self.waiter)
        # Those who came meanwhile had to wait, in the order of their coming.
        semaphore.wake_allowed()
        return self.acquired()

    cdef object fail(self, object exception):
        semaphore = <Semaphore>self.owner
        remove(semaphore._waiters, self.waiter)
        if not WAKES_AS_MANY:
            if isinstance(exception, CancelledError) and not is_cancelled(self.waiter):
                semaphore._value += 1
                semaphore.wake_next()
            raise exception
        if (
            isinstance(exception, CancelledError)
            and is_done(self.waiter)
            and not is_cancelled(self.waiter)
        ):
            # It was given its turn, and cannot take it.
            semaphore._value += 1
        semaphore.wake_allowed()
        raise exception

    cdef object acquired(self):
        return self.finish(True)


@cython.final
cdef class EnterSemaphore(AcquireSemaphore):
    def __cinit__(self):
        self.spares = &spare_enters

    cdef str qualified_name(self):
        return "Semaphore.__aenter__"

    cdef BoundCall another(self):
        return (<Semaphore>self.owner).entering()

    cdef object acquired(self):
        return self.finish(None)


cdef class Semaphore(Acquirable):
    """Semaphore(value=1)\n--\n
    Lets a number of tasks in at once. The others wait, and get in as they came.

    Args:
        value: how many it lets in, at least 0.
    """
    _state_names = ("_loop", "_waiters", "_value")

    def __init__(self, value=1):
        if value < 0:
            raise ValueError("Semaphore initial value must be >= 0")
        self._waiters = None
        self._value = value

    def __repr__(self):
        state = "locked" if (<object>self).locked() else f"unlocked, value:{self._value}"
        return described(self, state, self._waiters)

    def locked(self):
        """Return whether whoever wants in must wait now."""
        return self._value == 0 or bool(self._waiters and not all_cancelled(self._waiters))

    @cython.binding(True)
    def acquire(self):
        """Wait until there is room, take it, and return True.

        Cancelling ends the wait; the room then goes to the next in line.
        """
        cdef AcquireSemaphore made = AcquireSemaphore.__new__(AcquireSemaphore)
        made.owner = self
        made.stage = FRESH
        return made

    def release(self):
        """Make room for one more, and wake the first of those who wait."""
        self._value += 1
        self.wake_next()

    def _wake_up_next(self):
        woken = self.wake_next()
        return woken if WAKES_AS_MANY else None

    cdef BoundCall entering(self):
        return new_call(&spare_enters, self)

    cdef int let_go(self) except -1:
        self._value += 1
        self.wake_next()
        return 0

    cdef bint takes_one(self) except -1:
        """Let one in, if nobody has to wait."""
        if self.must_wait():
            return False
        self._value -= 1
        return True

    cdef bint must_wait(self) except -1:
        if not self.is_plain():
            return (<object>self).locked()
        return self._value == 0 or (self._waiters and not all_cancelled(self._waiters))

    cdef bint wake_next(self) except -1:
        """Give one of those who wait their turn. Returns whether there was one."""
        if self._waiters:
            waiter = self._waiters[0]
            if is_done(waiter):
                waiter = first_pending(self._waiters)
            if waiter is not None:
                self._value -= 1
                wake(waiter, True)
                return True
        return False

    cdef int wake_allowed(self) except -1:
        while self._value > 0:
            if not self.wake_next() or not WAKES_AS_MANY:
                break
        return 0


cdef object first_pending(object line):
    for waiter in line:
        if not is_done(waiter):
            return waiter
    return None


cdef class BoundedSemaphore(Semaphore):
    """BoundedSemaphore(value=1)\n--\n
    A semaphore that may not be released more often than it was acquired.

    Args:
        value: how many it lets in, at least 0.
    """
    _state_names = (*Semaphore._state_names, "_bound_value")

    def __init__(self, value=1):
        self._bound_value = value
        Semaphore.__init__(self, value)

    def release(self):
        """Make room for one more, and wake the first of those who wait.

        Raises:
            ValueError: there would be more room than there was at first.
        """
        self.let_go()

    cdef int let_go(self) except -1:
        if self._value >= self._bound_value:
            raise ValueError("BoundedSemaphore released too many times")
        return Semaphore.let_go(self)


mark_coroutine_function(Semaphore.acquire)
make_bound_call(EnterSemaphore, &spare_enters)
name_class_in_errors(<PyTypeObject *>Semaphore)
name_class_in_errors(<PyTypeObject *>BoundedSemaphore)
check_receivers(globals())
