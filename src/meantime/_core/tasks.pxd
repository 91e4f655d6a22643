from cpython.object cimport PyObject

from meantime._core.loop cimport Loop
from meantime._core.ready cimport Handle

cdef class Driver(Handle):
    """Steps a task. See tasks.pyx."""
    # Of a handle's fields: `callback` is the coroutine, `arg0` the task while its next step is
    # queued, `arg1` what it waits for, `arg2` what is to be raised in it at its next step.
    cdef Py_ssize_t cancel_count
    cdef bint must_cancel

    cdef int step(self, object task) except -1
    cdef object exception_to_throw(self, object task)
    cdef int end(self, object task, object value) except -1
    cdef int end_by_error(self, object task) except -1
    cdef int wait(self, object task, object awaited) except -1
    cdef int wait_for_future(self, object task, object future) except -1
    cdef int cancel_awaited(self, object task) except -1
    cdef int wait_for_other(self, object task, object awaited) except -1
    cdef int raise_soon(self, object task, object exception) except -1
    cdef int report_step(self, object task, object exception) except -1

cdef class Wakeup:
    """The callback of a future that a task of ours waits for."""
    cdef Driver driver
    cdef object task

    cdef int wake(self, object future) except -1

# Whether tasks can be of this kind here. Where they cannot, asyncio's own step is used.
cdef bint CAN_DRIVE
cdef type TaskOfOurs
cdef type StepCallback            # of what asyncio's task asks its loop to call
cdef bint can_drive(Loop loop, object coroutine) noexcept
cdef object new_driven_task(Loop loop, object coroutine, object name, object context)
# The task that this loop runs now, if it is of this kind and nothing runs within it; else None.
cdef object stepping_task(Loop loop)
# As task.cancelling().
cdef Py_ssize_t count_cancels(object task) except -1
