from cpython.object cimport PyObject

from meantime._core.ready cimport Handle
from meantime._core.schedule cimport SchedulingLoop
from meantime._core.timers cimport TimerHandle

cdef bint TRACKS_AWAITERS         # from Python 3.14 on futures know the tasks that await them

# Return `loop` if it is one of ours that can be spoken to directly, else None.
cdef SchedulingLoop own_loop(object loop)
cdef object running_loop()
cdef object current_task(object loop)
cdef double now_s(object loop) except? -1.0
cdef object new_future(object loop)
# A future for the coroutine that runs now, and for nobody else: a Waiter where that can be.
cdef object new_wait(object loop)
cdef object new_task(object loop, object coroutine)

# The future of any awaitable. `loop` may be None: then the current one is used for a new task.
cdef object ensure_future(object awaitable, object loop)
cdef object loop_of(object future)
cdef bint is_plain_future(object future) noexcept
# Methods of futures, straight where they are asyncio's own.
cdef int add_callback(object future, object callback) except -1
cdef bint was_cancelled(object future) except -1
cdef object exception_of(object future)
cdef object result_of(object future)
# Let nobody be told when a task that is pending is dropped.
cdef int forget_quietly(object task) except -1
cdef bint is_coroutine(object candidate)

cdef int add_awaiter(object future, object task) except -1
cdef int discard_awaiter(object future, object task) except -1

# Puts a timer of our own, of a class that overrides `run`, on a loop of ours.
cdef int start_timer(SchedulingLoop loop, TimerHandle timer, double when_s) except -1
cdef int start_soon(SchedulingLoop loop, Handle handle) except -1
# Cancels a handle: one of ours, or another loop's.
cdef int cancel_handle(object handle) except -1
