# cython: embedsignature=True, embedsignature.format=clinic
"""Waiting in line: what the locks and the queues have in common."""
import asyncio
from asyncio.events import _get_running_loop
from collections import deque

from cpython.object cimport PyObject, PyTypeObject
from cpython.pythread cimport PyThread_get_thread_ident

from meantime._core.garbage cimport GC_SET_CLEAR
from meantime._core.parking cimport (
    CANCELLED as WAITER_CANCELLED,
    PENDING,
    Waiter,
    new_waiter as waiter_of,
)
from meantime._core.schedule cimport SchedulingLoop
from meantime.primitives.faces cimport refuse_to_be_awaited
from meantime.primitives.loops cimport new_future

cdef extern from "methods.h":
    ctypedef struct DirectMethod:
        pass
    int find_method(DirectMethod *method, object type, const char *name) except -1
    object call_direct(DirectMethod *method, object self)
    object call_direct_with(DirectMethod *method, object self, object argument)
    object new_by_slots(
        PyTypeObject *type, tuple nothing, dict keywords, str key, object loop)

cdef type Future = asyncio.Future
cdef dict names_of_futures = asyncio.futures.__dict__
cdef dict TO_LOOP = {"loop": None}
cdef type Deque = deque

cdef DirectMethod APPEND, POPLEFT, REMOVE, DONE, CANCELLED, SET_RESULT
find_method(&APPEND, deque, "append")
find_method(&POPLEFT, deque, "popleft")
find_method(&REMOVE, deque, "remove")
find_method(&DONE, Future, "done")
find_method(&CANCELLED, Future, "cancelled")
find_method(&SET_RESULT, Future, "set_result")


# asyncio's own, as they are before anybody puts ours in their place.
cdef dict originals = {
    name: getattr(asyncio, name)
    for name in (
        "Barrier", "BoundedSemaphore", "Condition", "Event", "LifoQueue", "Lock", "PriorityQueue",
        "Queue", "Semaphore",
    )
}


cpdef object restored(type kind):
    """Return an object without its state, for copy and pickle."""
    return kind.__new__(kind)


cdef class LoopBound:
    # What makes up an object's state, for copy and pickle: the names of asyncio's attributes.
    _state_names = ("_loop",)

    def __cinit__(self, *args, **kwargs):
        # Cython makes a dictionary for each object. Most never need it, and without one an object
        # is known to be as its class made it.
        drop_attributes(self)

    @property
    def __class__(self):
        # So that isinstance says yes to those who have asyncio's class at hand, perhaps from before
        # ours took its place.
        kind = type(self)
        if kind.__module__.startswith("meantime."):
            return originals.get(kind.__name__, kind)
        return kind

    def __reduce__(self):
        return restored, (type(self),), self.__getstate__()

    def _get_loop(self):
        """Return the running loop, to which the object belongs from now on.

        Raises:
            RuntimeError: it belongs to another one.
        """
        loop = _get_running_loop()
        if self._loop is None:
            self._loop = loop
        if loop is not self._loop:
            raise RuntimeError(f"{self!r} is bound to a different event loop")
        return loop

    def __getstate__(self):
        state = {name: getattr(self, name) for name in self._state_names}
        state.update((<object>self).__dict__)
        return state

    def __setstate__(self, dict state):
        for name, value in state.items():
            setattr(self, name, value)

    cdef object new_waiter(self):
        """Return a new future of the running loop."""
        if not self.is_plain():
            return (<object>self)._get_loop().create_future()
        loop = self._loop
        if type(loop) is usual_loop and is_stepping_here(<SchedulingLoop>loop):
            # A loop that steps a task in this thread is the one that runs here.
            return waiter_of(<SchedulingLoop>loop)
        loop = _get_running_loop()
        if loop is not self._loop or loop is None:
            loop = self._get_loop()
        if type(loop) is usual_loop and is_plain_now(<SchedulingLoop>loop):
            if (<SchedulingLoop>loop).stepping is not None:
                return waiter_of(<SchedulingLoop>loop)
            return new_by_slots(<PyTypeObject *>Future, (), TO_LOOP, "loop", loop)
        if isinstance(loop, SchedulingLoop):
            set_usual_loop(type(loop))
        return new_future(loop)


# The class of the loops that programs use here, nearly always one. An isinstance() would look
# through all of its many bases.
cdef type usual_loop = SchedulingLoop


cdef int set_usual_loop(type kind) except -1:
    global usual_loop
    usual_loop = kind
    return 0


cdef bint is_stepping_here(SchedulingLoop loop) except -1:
    return (
        loop.stepping is not None and loop._thread_id == PyThread_get_thread_ident()
        and is_plain_now(loop)
    )


cdef bint is_plain_now(SchedulingLoop loop) except -1:
    # asyncio looks its class up when it makes a future, so those who replace it there mean us too.
    return loop.is_plain and not loop.debug and names_of_futures["Future"] is Future


cdef int clear_loop_bound(PyObject *owner) noexcept:
    """Leave a whole object, which Cython's own way of clearing the attributes would not."""
    (<LoopBound>owner)._loop = None
    drop_attributes(<object>owner)
    return 0


GC_SET_CLEAR(<PyTypeObject *>LoopBound, clear_loop_bound)
refuse_to_be_awaited(<PyTypeObject *>LoopBound)


cdef object new_line():
    return Deque()


cdef int append(object line, object item) except -1:
    if type(line) is Deque:
        call_direct_with(&APPEND, line, item)
    else:
        line.append(item)
    return 0


cdef int remove(object line, object item) except -1:
    if type(line) is Deque:
        if line and line[0] is item:
            # Most often it is this one's turn.
            call_direct(&POPLEFT, line)
        else:
            call_direct_with(&REMOVE, line, item)
    else:
        line.remove(item)
    return 0


cdef object pop_first(object line):
    return call_direct(&POPLEFT, line) if type(line) is Deque else line.popleft()


cdef bint is_done(object waiter) except -1:
    if type(waiter) is Waiter:
        return (<Waiter>waiter).state != PENDING
    return call_direct(&DONE, waiter) if type(waiter) is Future else waiter.done()


cdef bint is_cancelled(object waiter) except -1:
    if type(waiter) is Waiter:
        return (<Waiter>waiter).state == WAITER_CANCELLED
    return call_direct(&CANCELLED, waiter) if type(waiter) is Future else waiter.cancelled()


cdef int wake(object waiter, object result) except -1:
    if type(waiter) is Waiter:
        (<Waiter>waiter).wake(result)
    elif type(waiter) is Future:
        call_direct_with(&SET_RESULT, waiter, result)
    else:
        waiter.set_result(result)
    return 0


cdef bint all_cancelled(object line) except -1:
    # Nearly always the first one tells.
    if line and not is_cancelled(line[0]):
        return False
    for waiter in line:
        if not is_cancelled(waiter):
            return False
    return True


cdef str described(object primitive, str state, object waiters):
    """Return an object's repr with its state."""
    if waiters:
        state = f"{state}, waiters:{len(waiters)}"
    return f"<{object.__repr__(primitive)[1:-1]} [{state}]>"
