# cython: binding=True
"""Tasks whose steps the loop makes by itself.

asyncio's Task asks the loop to call it for each step, and that call goes through a callback object,
a handle, the registration of the current task, and back. Here a task is asyncio's object still,
with all that it can do, but what it runs is a `Driver`, which runs the coroutine in its place: it
lies in the loop's queue itself, sends to the coroutine, and knows what to do with what comes back.
asyncio's own step only runs when the coroutine raises: the driver then raises the same, and the
task ends as any other.

From Python 3.14 on, tools look into tasks from another process and must find the coroutine there;
and asyncio's steps are cheaper. There, tasks are asyncio's alone.
"""
import asyncio
import sys
import types
from meantime._core.receivers import check_receivers

cimport cython
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem
from cpython.object cimport PyObject, PyTypeObject

from meantime._core.calls cimport context_enter, take_exception
from meantime._core.coroutine cimport Coroutine
from meantime._core.loop cimport Loop
from meantime._core.parking cimport FINISHED, PENDING, Waiter, schedule_step
from meantime._core.ready cimport Handle

cdef extern from "Python.h":
    bint PyCoro_CheckExact(object candidate) noexcept
    int PyContext_Exit(PyObject *context) except -1
    object PyObject_Call(object function, tuple arguments, dict keywords)

cdef extern from "methods.h":
    ctypedef struct DirectMethod:
        pass
    ctypedef struct DirectAttribute:
        pass
    int find_method(DirectMethod *method, object type, const char *name) except -1
    int find_attribute(DirectAttribute *attribute, object type, const char *name) except -1
    object call_direct(DirectMethod *method, object self)
    object call_direct_with(DirectMethod *method, object self, object argument)
    object call_direct_named(
        DirectMethod *method, object self, object argument, object named, object names)
    object read_direct(DirectAttribute *attribute, object self)
    int write_direct(DirectAttribute *attribute, object self, object value) except -1
    object new_by_slots(
        PyTypeObject *type, tuple arguments, dict keywords, str key, object loop)

cdef extern from "tasks.h":
    object failure_of(DirectMethod *result, object future, bint is_of_asyncio)
    enum: PYGEN_RETURN, PYGEN_NEXT, PYGEN_ERROR
    int PyIter_Send(object iterator, object value, PyObject **result) noexcept
    int throw_into(object coroutine, object exception, PyObject **result) noexcept
    object own_result "(PyObject *)"(PyObject *result)
    # The C function of a builtin method, and that method of another object.
    ctypedef struct BuiltinMethod:
        pass
    BuiltinMethod *builtin_method(object method) noexcept
    object bound_builtin "PyCFunction_New"(BuiltinMethod *method, object self)
    void set_driver_slots(PyTypeObject *type, object (*ending_of)(object driver)) noexcept

cdef type Future = asyncio.Future
cdef type Original = asyncio.Task
cdef dict names_of_tasks = asyncio.tasks.__dict__
cdef object CancelledError = asyncio.CancelledError
cdef object InvalidStateError = asyncio.InvalidStateError
cdef object COROUTINE_FACE = types.CoroutineType
cdef dict CURRENT_TASKS = getattr(asyncio.tasks, "_current_tasks", {})
cdef dict TO_LOOP = {"loop": None}
cdef tuple CONTEXT = ("context",)

# From Python 3.13 on, taking back the last request to cancel takes back the cancellation as well.
cdef bint UNCANCEL_FORGETS = sys.version_info >= (3, 13)

cdef DirectMethod RESULT, DONE, SET_RESULT, ADD_DONE_CALLBACK, CANCELLED_ERROR
cdef DirectAttribute COROUTINE, LOOP, BLOCKING, LOG_TRACEBACK
find_method(&RESULT, Future, "result")
find_method(&DONE, Future, "done")
find_method(&SET_RESULT, Future, "set_result")
find_method(&ADD_DONE_CALLBACK, Future, "add_done_callback")
find_method(&CANCELLED_ERROR, Future, "_make_cancelled_error")
find_attribute(&LOOP, Future, "_loop")
find_attribute(&LOG_TRACEBACK, Future, "_log_traceback")
find_attribute(&BLOCKING, Future, "_asyncio_future_blocking")


# A try block costs a tenth of a step. This one leaves its exception set, for the caller to see.
ctypedef int (*quiet)(Driver self, object task) noexcept
cdef quiet step_quietly = <quiet><void *>step


cdef int step(Driver self, object task) except -1:
    return self.step(task)


@cython.final
cdef class Driver(Handle):
    # While a task is made of it, it passes for the coroutine that asyncio wants to see.
    @property
    def __class__(self):
        return COROUTINE_FACE

    def __repr__(self):
        return f"<Handle step of {self.callback!r}>"

    cdef int run(self) except -1:
        task = self.arg0
        context = self.context
        self.arg0 = None
        if context_enter(<PyObject *>context) < 0:
            return self.report_step(task, take_exception())
        failed = step_quietly(self, task)
        (<Loop>self.loop).stepping = None
        if failed:
            error = take_exception()
            PyContext_Exit(<PyObject *>context)
            return self.report_step(task, error)
        PyContext_Exit(<PyObject *>context)
        return 0

    cdef int step(self, object task) except -1:
        cdef Loop loop = <Loop>self.loop
        cdef PyObject *result = NULL
        cdef int outcome
        if call_direct(&DONE, task):
            raise InvalidStateError(f"step(): already done: {task!r}")
        enter_task(loop, task)
        loop.stepping = self
        if not self.must_cancel and self.arg2 is None and awaited_well(self):
            self.arg1 = None
            outcome = PyIter_Send(self.callback, None, &result)
        else:
            exception = self.exception_to_throw(task)
            if exception is None:
                outcome = PyIter_Send(self.callback, None, &result)
            else:
                outcome = throw_into(self.callback, exception, &result)
                exception = None
        loop.stepping = None
        if outcome == PYGEN_NEXT:
            return self.wait(task, own_result(result))
        if outcome == PYGEN_RETURN:
            return self.end(task, own_result(result))
        return self.end_by_error(task)

    cdef object exception_to_throw(self, object task):
        """Return what the step begins with, after a wait that failed or was cancelled."""
        awaited, exception = self.arg1, self.arg2
        self.arg1 = self.arg2 = None
        if awaited is not None:
            if type(awaited) is Waiter:
                exception = (<Waiter>awaited).failure()
            else:
                exception = failure_of(&RESULT, awaited, is_future_of_asyncio(awaited))
        if self.must_cancel:
            self.must_cancel = False
            if not isinstance(exception, CancelledError):
                exception = call_direct(&CANCELLED_ERROR, task)
        return exception

    cdef int end(self, object task, object value) except -1:
        if self.must_cancel:
            # It was cancelled in its very last step.
            self.must_cancel = False
            Future.cancel(task, msg=task._cancel_message)
        else:
            call_direct_with(&SET_RESULT, task, value)
        return 0

    cdef int end_by_error(self, object task) except -1:
        """Let asyncio's step end the task by the exception that is set."""
        cdef Loop loop = <Loop>self.loop
        self.arg2 = take_exception()
        loop.leave_task()
        bound_builtin(task_wakeup, task)(A_DONE_FUTURE)
        return 0 if loop.overseer is None else loop.overseer.task_failed(task)

    # ---- what the coroutine awaits

    cdef int wait(self, object task, object awaited) except -1:
        cdef Waiter waiter
        if awaited is None:
            return schedule_step(<Loop>self.loop, self, task)
        if type(awaited) is Waiter:
            waiter = <Waiter>awaited
            if (waiter.blocking and waiter.state == PENDING and waiter.driver is None
                    and waiter.loop is self.loop):
                waiter.blocking = False
                waiter.driver = self
                waiter.task = task
                self.arg1 = waiter
                return self.cancel_awaited(task) if self.must_cancel else 0
        elif is_future_of_asyncio(awaited):
            return self.wait_for_future(task, awaited)
        return self.wait_for_other(task, awaited)

    cdef int wait_for_future(self, object task, object future) except -1:
        if future is task:
            return self.raise_soon(task, RuntimeError(f"Task cannot await on itself: {task!r}"))
        if read_direct(&LOOP, future) is not self.loop:
            return self.raise_soon(task, RuntimeError(
                f"Task {task!r} got Future {future!r} attached to a different loop"))
        if not read_direct(&BLOCKING, future):
            return self.raise_soon(task, RuntimeError(
                f"yield was used instead of yield from in task {task!r} with {future!r}"))
        write_direct(&BLOCKING, future, False)
        call_direct_named(
            &ADD_DONE_CALLBACK, future, new_wakeup(self, task), self.context, CONTEXT)
        self.arg1 = future
        return self.cancel_awaited(task) if self.must_cancel else 0

    cdef int wait_for_other(self, object task, object awaited) except -1:
        """Wait for a future of another kind, or say that this cannot be waited for."""
        blocking = getattr(awaited, "_asyncio_future_blocking", None)
        if blocking is None:
            if isinstance(awaited, types.GeneratorType):
                said = "yield was used instead of yield from for generator in task"
                return self.raise_soon(task, RuntimeError(f"{said} {task!r} with {awaited!r}"))
            return self.raise_soon(task, RuntimeError(f"Task got bad yield: {awaited!r}"))
        if asyncio.futures._get_loop(awaited) is not self.loop:
            return self.raise_soon(task, RuntimeError(
                f"Task {task!r} got Future {awaited!r} attached to a different loop"))
        if not blocking:
            return self.raise_soon(task, RuntimeError(
                f"yield was used instead of yield from in task {task!r} with {awaited!r}"))
        awaited._asyncio_future_blocking = False
        awaited.add_done_callback(new_wakeup(self, task), context=self.context)
        self.arg1 = awaited
        return self.cancel_awaited(task) if self.must_cancel else 0

    cdef int cancel_awaited(self, object task) except -1:
        """Hand on a cancellation that came while the task ran."""
        if self.arg1.cancel(msg=task._cancel_message):
            self.must_cancel = False
        return 0

    cdef int raise_soon(self, object task, object exception) except -1:
        self.arg2 = exception
        return schedule_step(<Loop>self.loop, self, task)

    cdef int report_step(self, object task, object exception) except -1:
        """As `Handle.report`."""
        (<Loop>self.loop).leave_task()
        if isinstance(exception, (SystemExit, KeyboardInterrupt)):
            raise exception
        (<object>self.loop).call_exception_handler({
            "message": f"Exception in the step of {task!r}",
            "exception": exception,
            "task": task,
        })
        return 0


cdef object take_ending(object task_driver):
    driver = <Driver>task_driver
    exception = driver.arg2
    if exception is None:
        raise RuntimeError("the loop steps this task by itself, and asyncio's step is its last one")
    driver.arg2 = None
    return exception


set_driver_slots(<PyTypeObject *>Driver, take_ending)


cdef inline bint awaited_well(Driver driver) noexcept:
    """Whether nothing was waited for, or something in line that has come."""
    awaited = driver.arg1
    if awaited is None:
        return True
    return (
        type(awaited) is Waiter and (<Waiter>awaited).state == FINISHED
        and (<Waiter>awaited).exception_set is None
    )


cdef bint is_future_of_asyncio(object candidate) noexcept:
    return (
        type(candidate) is Future or type(candidate) is TaskOfOurs
        or type(candidate) is Original)


cdef int enter_task(Loop loop, object task) except -1:
    cdef PyObject *other
    if not loop.has_entered:
        other = PyDict_GetItemWithError(CURRENT_TASKS, loop)
        if other != NULL:
            raise RuntimeError(
                f"Cannot enter into task {task!r} while another task {<object>other!r} is being "
                "executed."
            )
        loop.has_entered = True
    PyDict_SetItem(CURRENT_TASKS, loop, task)
    return 0


@cython.final
@cython.freelist(1024)
cdef class Wakeup:
    """Called with the future, when it is done."""

    def __call__(self, future, /):
        self.wake(future)

    @property
    def __self__(self):
        return self.task

    def __repr__(self):
        return f"<built-in method task_wakeup of {type(self.task).__name__} object>"

    cdef int wake(self, object future) except -1:
        # Not if it is queued already: a future tells each of its callbacks once.
        if self.driver is not None and self.driver.arg0 is None:
            # Nearly always it is this one, but it may have handed the callback on to another.
            self.driver.arg1 = future
            schedule_step(<Loop>self.driver.loop, self.driver, self.task)
        return 0


cdef Wakeup new_wakeup(Driver driver, object task):
    cdef Wakeup made = Wakeup.__new__(Wakeup)
    made.driver = driver
    made.task = task
    return made


# ---- the class of the tasks

cdef Driver driver_of(object task):
    """Return what drives a task. None if the class was called by hand."""
    if not CAN_DRIVE:
        return None
    coroutine = read_direct(&COROUTINE, task)
    return <Driver>coroutine if type(coroutine) is Driver else None


class Task(Original):
    """A task that its loop steps by itself."""
    __slots__ = ()

    def cancel(self, msg=None):
        """Request that CancelledError is raised in the coroutine. False if it has ended."""
        cdef Driver driver = driver_of(self)
        if driver is None:
            return Original.cancel(self, msg=msg)
        write_direct(&LOG_TRACEBACK, self, False)
        if call_direct(&DONE, self):
            return False
        driver.cancel_count += 1
        if driver.arg1 is not None and driver.arg1.cancel(msg=msg):
            return True
        driver.must_cancel = True
        self._cancel_message = msg
        return True

    def cancelling(self):
        """Return how many requests to cancel there are that were not taken back."""
        cdef Driver driver = driver_of(self)
        return Original.cancelling(self) if driver is None else driver.cancel_count

    def uncancel(self):
        """Take back a request to cancel, and return how many are left."""
        cdef Driver driver = driver_of(self)
        if driver is None:
            return Original.uncancel(self)
        if driver.cancel_count > 0:
            driver.cancel_count -= 1
            if UNCANCEL_FORGETS and driver.cancel_count == 0:
                driver.must_cancel = False
        return driver.cancel_count

    def get_coro(self):
        """Return the coroutine."""
        cdef Driver driver = driver_of(self)
        return Original.get_coro(self) if driver is None else driver.callback

    # asyncio's private names, which its own repr and many libraries read.

    @property
    def _coro(self):
        return self.get_coro()

    @property
    def _fut_waiter(self):
        cdef Driver driver = driver_of(self)
        return Original._fut_waiter.__get__(self) if driver is None else driver.arg1

    @property
    def _must_cancel(self):
        cdef Driver driver = driver_of(self)
        return Original._must_cancel.__get__(self) if driver is None else driver.must_cancel


TaskOfOurs = Task


cdef object stepping_task(Loop loop):
    cdef PyObject *task = NULL
    if loop.stepping is not None:
        task = PyDict_GetItemWithError(CURRENT_TASKS, loop)
    return <object>task if task != NULL else None


cdef Py_ssize_t count_cancels(object task) except -1:
    cdef Driver driver = driver_of(task) if type(task) is TaskOfOurs else None
    return task.cancelling() if driver is None else driver.cancel_count


cdef bint can_drive(Loop loop, object coroutine) noexcept:
    return (
        CAN_DRIVE and loop.is_plain and not loop.debug and loop.adopting is None
        and (PyCoro_CheckExact(coroutine) or isinstance(coroutine, Coroutine))
        and names_of_tasks["Task"] is Original
    )


cdef object new_driven_task(Loop loop, object coroutine, object name, object context):
    cdef Driver driver = Driver.__new__(Driver)
    driver.loop = loop
    driver.callback = coroutine
    driver.is_step = True
    loop.adopting = driver
    try:
        if name is None and context is None:
            task = new_by_slots(
                <PyTypeObject *>TaskOfOurs, (driver,), TO_LOOP, "loop", loop)
        else:
            task = TaskOfOurs(driver, loop=loop, name=name, context=context)
    finally:
        loop.adopting = None
    if driver.context is None:
        raise RuntimeError("asyncio's Task did not ask for its first step")
    schedule_step(loop, driver, task)
    return task


# ---- learning how asyncio's tasks are stepped

class Looker:
    """Enough of a loop to make a task on, and of a future to be awaited, to see what is asked."""
    _asyncio_future_blocking = False

    def __init__(self):
        self.asked = []

    def get_debug(self):
        return False

    def get_loop(self):
        return self

    def call_soon(self, callback, *_, context=None):
        self.asked.append(callback)

    add_done_callback = call_soon

    def result(self):
        return None

    def __await__(self):
        self._asyncio_future_blocking = True
        yield self


async def wait_once(future):
    await future


cdef BuiltinMethod *task_wakeup = NULL
cdef object A_DONE_FUTURE = None
cdef type StepCallback = None


cdef bint look_at_tasks() except -1:
    """Learn which callbacks a task makes. Returns whether they are what this module can use."""
    global task_wakeup, A_DONE_FUTURE, StepCallback
    if sys.version_info >= (3, 14) or not hasattr(Original, "_coro"):
        return False
    find_attribute(&COROUTINE, Original, "_coro")
    loop = Looker()
    task = Original(wait_once(loop), loop=loop, name="")
    take_first_step = loop.asked.pop()
    StepCallback = type(take_first_step)
    take_first_step()
    wake = loop.asked.pop()
    wake(loop)
    task_wakeup = builtin_method(wake)
    CURRENT_TASKS[loop] = task
    is_seen = asyncio.tasks.current_task(loop) is task
    del CURRENT_TASKS[loop]
    A_DONE_FUTURE = Future(loop=loop)
    A_DONE_FUTURE.set_result(None)
    return is_seen and task.done() and task_wakeup != NULL


CAN_DRIVE = look_at_tasks()
check_receivers(globals())
