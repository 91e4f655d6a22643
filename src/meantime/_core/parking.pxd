from meantime._core.loop cimport Loop
from meantime._core.ready cimport Handle

cdef enum WaiterState:
    PENDING
    FINISHED
    CANCELLED

cdef class Waiter:
    """What a task waits for that waits in line. See parking.pyx."""
    cdef object __weakref__
    cdef Loop loop
    cdef WaiterState state
    cdef bint blocking            # asyncio's sign between an awaitable and the task that awaits it
    cdef Handle driver            # what steps the task of ours that waits; it is woken directly
    cdef object task
    cdef object value             # its result; the message of a cancellation
    cdef object exception_set
    cdef list callbacks           # those of anybody else: (callback, context)

    cdef int wake(self, object value) except -1
    cdef bint drop(self, object message) except -1
    cdef int complete(self, WaiterState state) except -1
    cdef object outcome(self)
    cdef object failure(self)

# A new one on a loop of ours.
cdef Waiter new_waiter(Loop loop)
# A new one if a task of ours runs on the loop now, and nobody could tell it from what create_future
# returns. Else None.
cdef Waiter waiter_on(object loop)
# Queue a task's next step. The queue keeps the task alive until then.
cdef int schedule_step(Loop loop, Handle driver, object task) except -1
