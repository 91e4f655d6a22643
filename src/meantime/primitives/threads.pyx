# cython: binding=True
"""Between threads: a function in a thread for a coroutine, and a coroutine for another thread."""
import asyncio
import concurrent.futures
import contextvars
import functools

cimport cython

from meantime._core.coroutine cimport FRESH, Coroutine, mark_coroutine_function
from meantime.primitives.loops cimport ensure_future, is_coroutine, running_loop

cdef object chain_future = asyncio.futures._chain_future
cdef object copy_context = contextvars.copy_context
cdef object partial = functools.partial


@cython.final
cdef class InThread(Coroutine):
    cdef object function
    cdef tuple arguments
    cdef dict keywords

    cdef str qualified_name(self):
        return "to_thread"

    cdef object begin(self):
        loop = running_loop()
        call = partial(copy_context().run, self.function, *self.arguments, **self.keywords)
        return loop.run_in_executor(None, call)


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
