"""Callbacks and tasks: what a program asks the loop to run, and when.

The four methods that schedule a callback are called more often than anything else here. They take
their arguments as the interpreter has them, in an array, and put up to three into the handle: no
tuple is made. Cython writes no such method by itself, hence the table of methods at the end.
"""
import asyncio
import inspect
import sys
from asyncio import format_helpers

from cpython.object cimport PyCallable_Check, PyObject, PyTypeObject
from cpython.pythread cimport PyThread_get_thread_ident
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.math cimport isnan

from meantime._core.calls cimport (
    METH_FASTCALL,
    METH_KEYWORDS,
    PyMethodDef,
    current_context_is_empty,
    set_fast_method,
)
from meantime._core.kernel cimport monotonic_s
from meantime._core.loop cimport Loop
from meantime._core.ready cimport Handle, ThreadSafeHandle
from meantime._core.tasks cimport StepCallback, Wakeup, can_drive, new_driven_task
from meantime._core.timers cimport TimerHandle

cdef extern from "Python.h":
    object PyContext_CopyCurrent()
    int PyObject_GenericSetAttr(object owner, object name, object value) except -1

# asyncio looks its classes up when it makes one, so those who replace them there mean us as well.
cdef object futures = asyncio.futures
cdef object tasks = asyncio.tasks
cdef str CONTEXT = "context"

# The methods that primitives go round, to speak to the core, where nobody has replaced them.
cdef frozenset GONE_ROUND = frozenset([
    "call_soon", "call_soon_threadsafe", "call_later", "call_at", "create_future", "create_task",
])

# From Python 3.14 on another thread may cancel what it has scheduled, and trust the answer.
cdef bint HANDLES_ARE_LOCKED = hasattr(asyncio.events, "_ThreadSafeHandle")

# Up to Python 3.13 a task factory is not told the name; the task is, afterwards.
cdef bint FACTORY_TAKES_NAME = sys.version_info >= (3, 14)


cdef class SchedulingLoop(Loop):
    """Adds callbacks, futures and tasks to the loop."""

    def __setattr__(self, name, value):
        if name in GONE_ROUND:
            self.is_plain = False
        elif name == "time":
            self.has_own_time = True
        PyObject_GenericSetAttr(self, name, value)

    def _look_for_own_methods(self):
        Loop._look_for_own_methods(self)
        kind = type(self)
        self.is_plain = GONE_ROUND.isdisjoint(getattr(self, "__dict__", ())) and all(
            [getattr(kind, name) is getattr(SchedulingLoop, name) for name in GONE_ROUND])

    cdef int fill(self, Handle handle, str method, PyObject *callback, PyObject **arguments,
                  Py_ssize_t count, PyObject *context) except -1:
        """Give a new handle its callback and arguments, or say what is wrong with them."""
        if self.closed:
            self.check_open()
        if self.debug or not PyCallable_Check(<object>callback):
            self.check_call(<object>callback, method)
        handle.loop = self
        handle.callback = <object>callback
        if context != NULL and <object>context is not None:
            handle.context = <object>context
        elif current_context_is_empty():
            handle.context = self.blank_context()
            handle.is_blank = True
        else:
            handle.context = PyContext_CopyCurrent()
        if count > 3:
            handle.set_arguments(tuple([<object>arguments[index] for index in range(count)]))
        else:
            handle.arg_count = count
            if count > 0:
                handle.arg0 = <object>arguments[0]
            if count > 1:
                handle.arg1 = <object>arguments[1]
            if count > 2:
                handle.arg2 = <object>arguments[2]
        if self.debug:
            handle.made_at = format_helpers.extract_stack(sys._getframe(0))
        return 0

    cdef int check_call(self, object callback, str method) except -1:
        if asyncio.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError(
                f"coroutines cannot be used with {method}(): {callback!r} would never be awaited. "
                "Use loop.create_task() for a coroutine."
            )
        if not PyCallable_Check(callback):
            raise TypeError(
                f"a callable object was expected by {method}(), got {callback!r}. "
                "Give the function itself, and its arguments after it."
            )
        if (
            method != "call_soon_threadsafe"
            and self._thread_id not in (0, PyThread_get_thread_ident())
        ):
            raise RuntimeError(
                "Non-thread-safe operation invoked on an event loop other than the current one. "
                "Use loop.call_soon_threadsafe() from another thread."
            )
        return 0

    # ---- tasks and futures: CPython's own

    def create_future(self):
        """Return a new asyncio.Future of this loop."""
        return futures.Future(loop=self)

    def create_task(self, coro, *, name=None, context=None, **kwargs):
        """Run a coroutine as an asyncio.Task of this loop.

        Args:
            coro: the coroutine.
            name: the task's name.
            context: the contextvars.Context to run in; by default a copy of the current one.
            kwargs: what else the running Python's Task, or the task factory, takes.
        """
        if self.closed:
            self.check_open()
        if self.task_factory is None:
            if not kwargs and can_drive(self, coro):
                return new_driven_task(self, coro, name, context)
            if name is None and context is None and not kwargs:
                return self.oversee(tasks.Task(coro, loop=self))
            return self.oversee(tasks.Task(coro, loop=self, name=name, context=context, **kwargs))
        # A factory is given only what somebody asked for: it need not know the rest.
        if context is not None:
            kwargs["context"] = context
        if FACTORY_TAKES_NAME:
            if name is not None:
                kwargs["name"] = name
            return self.oversee(self.task_factory(self, coro, **kwargs))
        task = self.task_factory(self, coro, **kwargs)
        if name is not None and hasattr(task, "set_name"):
            task.set_name(name)
        return self.oversee(task)

    cdef object oversee(self, object task):
        """Let the overseer know when a task fails that the loop does not step by itself."""
        if self.overseer is not None:
            task.add_done_callback(self.overseer.task_done, context=self.own_context)
        return task

    def set_task_factory(self, factory):
        """Let `factory(loop, coro, **kwargs)` make the tasks; None for asyncio.Task."""
        if factory is not None and not callable(factory):
            raise TypeError("task factory must be a callable or None")
        self.task_factory = factory

    def get_task_factory(self):
        """Return what `set_task_factory` was given, or None."""
        return self.task_factory


cdef struct Call:
    PyObject *first               # the delay or the due time, for those methods that have one
    PyObject *callback
    PyObject **arguments
    Py_ssize_t count
    PyObject *context


cdef int parse(Call *call, Py_ssize_t leading, PyObject **given, Py_ssize_t given_count,
               PyObject *names) except -1:
    """Sort out what was given: `leading` positions, the arguments, and `context` by name.

    Returns 1 when something else was given by its name.
    """
    call.context = NULL
    if names != NULL and PyTuple_GET_SIZE(<object>names):
        if PyTuple_GET_SIZE(<object>names) != 1 or (<tuple>names)[0] != CONTEXT:
            return 1
        call.context = given[given_count]
    if given_count < leading:
        return 1
    call.first = given[0]
    call.callback = given[leading - 1]
    call.arguments = given + leading
    call.count = given_count - leading
    return 0


cdef object by_name(Loop loop, str method, str first_name, PyObject **given, Py_ssize_t count,
                    PyObject *names):
    """Call the method again, with everything in its position; for callers who name arguments."""
    cdef Py_ssize_t index
    expected = ["callback"] if first_name is None else [first_name, "callback"]
    positions = [<object>given[index] for index in range(count)]
    named = {}
    if names != NULL:
        for index, name in enumerate(<tuple>names):
            named[name] = <object>given[count + index]
    for name in expected[len(positions):]:
        if name not in named:
            raise TypeError(f"{method}() missing 1 required positional argument: {name!r}")
        positions.append(named.pop(name))
    for name in named:
        if name != CONTEXT:
            raise TypeError(f"{method}() got an unexpected keyword argument {name!r}")
    return getattr(loop, method)(*positions, **named)


cdef object call_soon(SchedulingLoop self, PyObject **given, Py_ssize_t count, PyObject *names):
    cdef Call call
    cdef Handle handle
    if parse(&call, 1, given, count, names):
        return by_name(self, "call_soon", None, given, count, names)
    if type(<object>call.callback) is Wakeup and call.count == 1:
        (<Wakeup>call.callback).wake(<object>call.arguments[0])
        return None
    if self.adopting is not None and type(<object>call.callback) is StepCallback:
        # A task of ours is being made, and asks for its first step.
        self.adopting.context = <object>call.context
        return None
    handle = Handle.__new__(Handle)
    self.fill(handle, "call_soon", call.callback, call.arguments, call.count, call.context)
    self.ready.push(handle)
    return handle


cdef object call_soon_threadsafe(
    SchedulingLoop self, PyObject **given, Py_ssize_t count, PyObject *names
):
    cdef Call call
    cdef Handle handle
    if parse(&call, 1, given, count, names):
        return by_name(self, "call_soon_threadsafe", None, given, count, names)
    if HANDLES_ARE_LOCKED:
        handle = ThreadSafeHandle.__new__(ThreadSafeHandle)
    else:
        handle = Handle.__new__(Handle)
    self.fill(
        handle, "call_soon_threadsafe", call.callback, call.arguments, call.count, call.context)
    self.post(handle)
    return handle


cdef object call_later(SchedulingLoop self, PyObject **given, Py_ssize_t count, PyObject *names):
    cdef Call call
    cdef TimerHandle handle
    cdef double when_s
    if parse(&call, 2, given, count, names):
        return by_name(self, "call_later", "delay", given, count, names)
    if <object>call.first is None:
        raise TypeError("delay must not be None")
    when_s = <object>call.first
    when_s += <double>self.time() if self.has_own_time else monotonic_s()
    if isnan(when_s):
        raise ValueError(f"delay must be a number of seconds, not {<object>call.first!r}")
    handle = TimerHandle.__new__(TimerHandle)
    self.fill(handle, "call_later", call.callback, call.arguments, call.count, call.context)
    self.timers.push(handle, when_s)
    return handle


cdef object call_at(SchedulingLoop self, PyObject **given, Py_ssize_t count, PyObject *names):
    cdef Call call
    cdef TimerHandle handle
    cdef double when_s
    if parse(&call, 2, given, count, names):
        return by_name(self, "call_at", "when", given, count, names)
    if <object>call.first is None:
        raise TypeError("when cannot be None")
    when_s = <object>call.first
    if isnan(when_s):
        raise ValueError(
            f"when must be a time on the clock of loop.time(), not {<object>call.first!r}")
    handle = TimerHandle.__new__(TimerHandle)
    self.fill(handle, "call_at", call.callback, call.arguments, call.count, call.context)
    self.timers.push(handle, when_s)
    return handle


cdef PyMethodDef[4] METHODS = [
    PyMethodDef(
        "call_soon", <void *>call_soon, METH_FASTCALL | METH_KEYWORDS,
        "call_soon($self, callback, *args, context=None)\n--\n\n"
        "Call `callback(*args)` in the next turn. Returns a Handle that can cancel it."),
    PyMethodDef(
        "call_soon_threadsafe", <void *>call_soon_threadsafe, METH_FASTCALL | METH_KEYWORDS,
        "call_soon_threadsafe($self, callback, *args, context=None)\n--\n\n"
        "Like `call_soon`, from any thread; wakes the loop if it sleeps."),
    PyMethodDef(
        "call_later", <void *>call_later, METH_FASTCALL | METH_KEYWORDS,
        "call_later($self, delay, callback, *args, context=None)\n--\n\n"
        "Call `callback(*args)` after `delay` seconds. Returns a TimerHandle."),
    PyMethodDef(
        "call_at", <void *>call_at, METH_FASTCALL | METH_KEYWORDS,
        "call_at($self, when, callback, *args, context=None)\n--\n\n"
        "Call `callback(*args)` when `loop.time()` is `when`. Returns a TimerHandle."),
]
cdef Py_ssize_t position
for position in range(4):
    set_fast_method(<PyTypeObject *>SchedulingLoop, &METHODS[position])
