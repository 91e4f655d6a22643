"""What the primitives ask of an event loop: of ours directly, of another by its methods.

A loop of ours is spoken to directly while it is not in debug mode and none of its methods that
schedule is replaced: then nobody can tell the difference.
"""
import asyncio
import sys

from meantime._core.coroutine cimport Coroutine
from meantime._core.parking cimport waiter_on
from meantime._core.ready cimport Handle
from meantime._core.schedule cimport SchedulingLoop
from meantime._core.tasks cimport TaskOfOurs, can_drive, new_driven_task, stepping_task
from meantime._core.timers cimport TimerHandle

cdef extern from "Python.h":
    object PyObject_Call(object function, tuple arguments, dict keywords)
    bint PyCoro_CheckExact(object candidate) noexcept

cdef extern from "methods.h":
    ctypedef struct DirectMethod:
        pass
    ctypedef struct DirectAttribute:
        pass
    int find_method(DirectMethod *method, object type, const char *name) except -1
    int find_attribute(DirectAttribute *attribute, object type, const char *name) except -1
    int write_direct(DirectAttribute *attribute, object self, object value) except -1
    object call_direct(DirectMethod *method, object self)
    object call_direct_with(DirectMethod *method, object self, object argument)

# asyncio looks its classes up when it makes one, so those who replace them there mean us as well.
cdef object futures = asyncio.futures
cdef object tasks = asyncio.tasks
cdef object get_running_loop = asyncio.events.get_running_loop
cdef object get_event_loop = asyncio.events.get_event_loop
cdef object isfuture = asyncio.isfuture
cdef object iscoroutine = asyncio.coroutines.iscoroutine
cdef type Future = asyncio.Future
cdef type Task = asyncio.Task
cdef tuple NOTHING = ()
cdef DirectMethod ADD_DONE_CALLBACK, CANCELLED, EXCEPTION, RESULT
find_method(&ADD_DONE_CALLBACK, Future, "add_done_callback")
find_method(&CANCELLED, Future, "cancelled")
find_method(&EXCEPTION, Future, "exception")
find_method(&RESULT, Future, "result")
cdef DirectAttribute LOG_DESTROY_PENDING
if hasattr(Task, "_log_destroy_pending"):
    find_attribute(&LOG_DESTROY_PENDING, Task, "_log_destroy_pending")
cdef dict TO_LOOP = {"loop": None}

TRACKS_AWAITERS = sys.version_info >= (3, 14)
cdef object _add_awaiter = getattr(asyncio.futures, "future_add_to_awaited_by", None)
cdef object _discard_awaiter = getattr(asyncio.futures, "future_discard_from_awaited_by", None)

# From Python 3.12 on it is compiled.
cdef bint HAS_FAST_CURRENT_TASK = sys.version_info >= (3, 12)
cdef object _current_tasks = getattr(asyncio.tasks, "_current_tasks", None)


cdef SchedulingLoop own_loop(object loop):
    if isinstance(loop, SchedulingLoop):
        if (<SchedulingLoop>loop).is_plain and not (<SchedulingLoop>loop).debug:
            return <SchedulingLoop>loop
    return None


cdef object running_loop():
    return get_running_loop()


cdef object current_task(object loop):
    if isinstance(loop, SchedulingLoop):
        task = stepping_task(<SchedulingLoop>loop)
        if task is not None:
            return task
    if HAS_FAST_CURRENT_TASK:
        # Asked for by name, as it may be that of tasks written in Python.
        return tasks.current_task(loop)
    return _current_tasks.get(loop)


cdef double now_s(object loop) except? -1.0:
    cdef SchedulingLoop own = own_loop(loop)
    return own.now_s() if own is not None else <double>loop.time()


cdef object call_with_loop(object kind, tuple arguments, object loop):
    """Make a future or task. The dict is used again: what it holds is read before it can change."""
    TO_LOOP["loop"] = loop
    try:
        return PyObject_Call(kind, arguments, TO_LOOP)
    finally:
        TO_LOOP["loop"] = None


cdef object new_future(object loop):
    cdef SchedulingLoop own = own_loop(loop)
    if own is None:
        return loop.create_future()
    return call_with_loop(futures.Future, NOTHING, loop)


cdef object new_wait(object loop):
    waiter = waiter_on(loop)
    return waiter if waiter is not None else new_future(loop)


cdef object new_task(object loop, object coroutine):
    cdef SchedulingLoop own = own_loop(loop)
    if own is None or own.task_factory is not None or own.closed:
        return loop.create_task(coroutine)
    if can_drive(own, coroutine):
        return new_driven_task(own, coroutine, None, None)
    return call_with_loop(tasks.Task, (coroutine,), loop)


cdef bint is_plain_future(object future) noexcept:
    return type(future) is TaskOfOurs or type(future) is Task or type(future) is Future


cdef int add_callback(object future, object callback) except -1:
    if is_plain_future(future):
        call_direct_with(&ADD_DONE_CALLBACK, future, callback)
    else:
        future.add_done_callback(callback)
    return 0


cdef bint was_cancelled(object future) except -1:
    return call_direct(&CANCELLED, future) if is_plain_future(future) else future.cancelled()


cdef object exception_of(object future):
    return call_direct(&EXCEPTION, future) if is_plain_future(future) else future.exception()


cdef object result_of(object future):
    return call_direct(&RESULT, future) if is_plain_future(future) else future.result()


cdef int forget_quietly(object task) except -1:
    if type(task) is TaskOfOurs:
        write_direct(&LOG_DESTROY_PENDING, task, False)
    else:
        task._log_destroy_pending = False
    return 0


cdef bint is_coroutine(object candidate):
    return (
        PyCoro_CheckExact(candidate) or isinstance(candidate, Coroutine) or iscoroutine(candidate)
    )


cdef object ensure_future(object awaitable, object loop):
    # Of these two, none can be a future as well, which a class of the program's own could.
    is_only_coroutine = PyCoro_CheckExact(awaitable) or isinstance(awaitable, Coroutine)
    if not is_only_coroutine and (
        is_plain_future(awaitable) or not is_coroutine(awaitable) or isfuture(awaitable)
    ):
        if loop is not None and is_plain_future(awaitable) and loop_of(awaitable) is loop:
            return awaitable
        return tasks.ensure_future(awaitable, loop=loop)
    if loop is None:
        loop = get_event_loop()
    try:
        return new_task(loop, awaitable)
    except RuntimeError:
        awaitable.close()
        raise


cdef object loop_of(object future):
    try:
        get_loop = future.get_loop
    except AttributeError:
        return future._loop
    return get_loop()


cdef int add_awaiter(object future, object task) except -1:
    if TRACKS_AWAITERS:
        _add_awaiter(future, task)
    return 0


cdef int discard_awaiter(object future, object task) except -1:
    if TRACKS_AWAITERS:
        _discard_awaiter(future, task)
    return 0


cdef int start_timer(SchedulingLoop loop, TimerHandle timer, double when_s) except -1:
    loop.check_open()
    timer.loop = loop
    timer.context = loop.own_context
    loop.timers.push(timer, when_s)
    return 0


cdef int start_soon(SchedulingLoop loop, Handle handle) except -1:
    loop.check_open()
    handle.loop = loop
    handle.context = loop.own_context
    loop.ready.push(handle)
    return 0


cdef int cancel_handle(object handle) except -1:
    cdef TimerHandle timer
    if not isinstance(handle, TimerHandle) or (<TimerHandle>handle).loop.debug:
        handle.cancel()
        return 0
    timer = <TimerHandle>handle
    if timer.is_cancelled:
        return 0
    timer.is_cancelled = True
    timer.arg_count = 0
    timer.callback = timer.arg0 = timer.arg1 = timer.arg2 = None
    if timer.scheduled:
        timer.loop.timer_was_cancelled()
    return 0
