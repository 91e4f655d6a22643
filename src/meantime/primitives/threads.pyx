# cython: binding=True
"""Between threads: a function in a thread for a coroutine, and a coroutine for another thread."""
import asyncio
import concurrent.futures
import concurrent.futures.thread
import contextvars
import functools
import sys
import types

cimport cython
from cpython.object cimport PyObject

from meantime._core.calls cimport context_enter, take_exception
from meantime._core.coroutine cimport FRESH, Coroutine, mark_coroutine_function
from meantime._core.loop cimport Loop
from meantime._core.parking cimport Waiter
from meantime._core.ready cimport Handle
from meantime.primitives.loops cimport ensure_future, is_coroutine, new_wait, own_loop, running_loop

cdef extern from "Python.h":
    object PyContext_CopyCurrent()
    int PyContext_Exit(PyObject *context) except -1
    object PyObject_Call(object function, tuple arguments, dict keywords)

cdef object chain_future = asyncio.futures._chain_future
cdef object converted = asyncio.futures._convert_future_exc
cdef object copy_context = contextvars.copy_context
cdef object partial = functools.partial
cdef object ThreadPoolExecutor = concurrent.futures.ThreadPoolExecutor
cdef dict names_of_pools = concurrent.futures.thread.__dict__

# What is known of the inside of an executor. A later Python may have changed it.
cdef bint KNOWS_EXECUTORS = sys.version_info < (3, 15) and hasattr(
    ThreadPoolExecutor, "_adjust_thread_count")


@cython.final
cdef class Arrival(Handle):
    """Brings what came of the Work in `arg0` to the loop."""

    cdef int run(self) except -1:
        try:
            (<Work>self.arg0).arrive()
        except BaseException as error:
            self.report(error)
        return 0


@cython.final
cdef class Work:
    """A function on its way through a thread.

    It lies in the queue of a ThreadPoolExecutor, among the executor's own items, and does what
    those do; but it brings its result straight to the loop, without a concurrent Future.
    """
    cdef Loop loop
    cdef object waiter
    cdef object function
    cdef tuple arguments
    cdef dict keywords
    cdef object context
    cdef object value
    cdef object error
    cdef bint is_cancelled
    cdef bint has_begun

    @cython.binding(False)
    def run(self, _=None):
        """Call the function, in the executor's thread."""
        if self.is_cancelled:
            return
        self.has_begun = True
        context = self.context
        try:
            if context_enter(<PyObject *>context) < 0:
                raise take_exception()
            try:
                self.value = PyObject_Call(self.function, self.arguments, self.keywords)
            finally:
                PyContext_Exit(<PyObject *>context)
        except BaseException as error:
            self.error = error
        self.function = self.arguments = self.keywords = self.context = None
        self.send_back()

    @property
    def future(self):
        """What an executor that ends, or cannot begin, tells its items by."""
        return self

    @cython.binding(False)
    def cancel(self):
        """Do not begin."""
        if not self.has_begun and not self.is_cancelled:
            self.is_cancelled = True
            self.send_back()

    @cython.binding(False)
    def set_exception(self, error):
        """Raise this for the caller, instead of beginning."""
        self.is_cancelled = True
        self.error = error
        self.send_back()

    cdef int send_back(self) except -1:
        cdef Arrival arrival
        if self.loop is None or self.loop.closed:
            # Nobody can wait for it any more, or ever could.
            return 0
        arrival = Arrival.__new__(Arrival)
        arrival.loop = self.loop
        arrival.callback = self.waiter
        arrival.arg0 = self
        arrival.arg_count = 1
        arrival.context = self.loop.own_context
        self.loop.post(arrival)
        return 0

    cdef int arrive(self) except -1:
        waiter, value, error = self.waiter, self.value, self.error
        self.waiter = self.value = self.error = None
        if waiter is None or waiter.done():
            return 0
        if error is not None:
            fail_with(waiter, error)
        elif self.is_cancelled:
            waiter.cancel()
        else:
            waiter.set_result(value)
        return 0


cdef int fail_with(object waiter, object error) except -1:
    error = converted(error)
    if type(waiter) is not Waiter and isinstance(error, StopIteration):
        # Futures of earlier Pythons would not take it, and be waited for without end.
        reason = error
        error = RuntimeError(
            "StopIteration interacts badly with generators and cannot be raised into a Future")
        error.__cause__ = error.__context__ = reason
    waiter.set_exception(error)
    return 0


cdef object known_executor(object loop):
    """Return the loop's default executor, if work can be put straight into its queue. Else None."""
    if not KNOWS_EXECUTORS or own_loop(loop) is None:
        return None
    method = getattr(loop.run_in_executor, "__func__", None)
    if getattr(method, "__module__", None) != "meantime.loop.executor":
        return None
    executor = loop._executor_in_use()
    if type(executor) is not ThreadPoolExecutor or "submit" in executor.__dict__:
        return None
    # Tools that follow a program's work from thread to thread put a submit() of their own there.
    submit = ThreadPoolExecutor.submit
    if type(submit) is not types.FunctionType or submit.__globals__ is not names_of_pools:
        return None
    return executor


cdef bint put_in(object executor, Work work) except -1:
    """Put work into the queue, as submit() does. Returns False if submit() would refuse it."""
    with executor._shutdown_lock, names_of_pools["_global_shutdown_lock"]:
        if executor._broken or executor._shutdown or names_of_pools["_shutdown"]:
            return False
        executor._work_queue.put(work)
        executor._adjust_thread_count()
    return True


@cython.final
cdef class InThread(Coroutine):
    cdef object function
    cdef tuple arguments
    cdef dict keywords
    cdef Work work

    cdef str qualified_name(self):
        return "to_thread"

    cdef object begin(self):
        cdef Work work
        loop = running_loop()
        executor = known_executor(loop)
        if executor is not None:
            work = Work.__new__(Work)
            work.loop = loop
            work.waiter = waiter = new_wait(loop)
            work.function = self.function
            work.arguments = self.arguments
            work.keywords = self.keywords
            work.context = PyContext_CopyCurrent()
            if put_in(executor, work):
                self.work = work
                return waiter
        call = partial(copy_context().run, self.function, *self.arguments, **self.keywords)
        return loop.run_in_executor(None, call)

    cdef object fail(self, object exception):
        if self.work is not None:
            self.work.is_cancelled = True
        raise exception


def to_thread(func, /, *args, **kwargs):
    """Call `func(*args, **kwargs)` in a thread, and return its result.

    It runs in the loop's default executor, with a copy of the current context.

    Cancelling ends the wait. The call goes on, unless it has not begun.
    """
    cdef InThread made = InThread.__new__(InThread)
    made.function = func
    made.arguments = args
    made.keywords = kwargs
    made.stage = FRESH
    return made


@cython.final
cdef class Submission:
    """A coroutine on its way to the loop's thread."""
    cdef object coroutine
    cdef object loop
    cdef object future

    @cython.binding(False)
    def begin(self):
        """Start it, in the loop's thread."""
        try:
            chain_future(ensure_future(self.coroutine, self.loop), self.future)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            if self.future.set_running_or_notify_cancel():
                self.future.set_exception(error)
            raise


def run_coroutine_threadsafe(coro, loop):
    """Run a coroutine on a loop that runs in another thread.

    Returns a concurrent.futures.Future, whose `result(timeout)` waits for the coroutine. Cancelling
    it cancels the coroutine.

    Raises:
        TypeError: `coro` is not a coroutine.
    """
    cdef Submission submission
    if not is_coroutine(coro):
        raise TypeError("A coroutine object is required")
    submission = Submission.__new__(Submission)
    submission.coroutine = coro
    submission.loop = loop
    submission.future = concurrent.futures.Future()
    loop.call_soon_threadsafe(submission.begin)
    return submission.future


mark_coroutine_function(to_thread)
