# cython: binding=True
"""Native coroutines: what a compiled async function returns when it is called.

An `async def` in compiled code would be Cython's general generator. Here a coroutine is an object
with a few C fields and three C methods, which a concrete class for each async function overrides:

    begin()            the first step
    resume(value)      what it awaited gave `value`
    fail(exception)    what it awaited raised, or somebody threw `exception` in: a cancellation

Each of them ends the call with `return self.finish(value)`, raises, returns an awaitable that is
to be awaited next, or returns `self.pause()`. The base does the rest of the protocol: it drives
what is awaited, whatever it is, and answers tasks, the interpreter, and those who call send, throw
and close by hand, as a coroutine of the interpreter does.

In `fail`, `exception` is the one being handled, so that what is raised there has it as its context.
The default raises it again. GeneratorExit means that the coroutine is closed: clean up and raise.

A new object is an ended coroutine. Who makes one fills in its fields and puts `stage` to FRESH.
"""
import asyncio
import inspect
import types
import warnings

from meantime._core.receivers import check_receivers

from cpython.exc cimport PyErr_WriteUnraisable
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from meantime._core.calls cimport take_exception
from meantime._core.parking cimport FINISHED, PENDING, Waiter

cdef extern from "coroutine.h":
    enum: PYGEN_RETURN, PYGEN_NEXT, PYGEN_ERROR
    ctypedef void *sendfunc
    int PyIter_Send(object iterator, object value, PyObject **result) noexcept
    # Turns a new reference that C code gave into one that Cython counts.
    object own_result(PyObject *result)
    void leave_untracked(PyTypeObject *type) noexcept
    void set_coroutine_slots(PyTypeObject *type, sendfunc send) noexcept
    void needs_no_finalizer(object ended) noexcept
    void drop_finalizer_note(PyObject *ended) noexcept
    bint is_final(PyTypeObject *type) noexcept
    void bring_back_empty(PyObject *ended) noexcept
    ctypedef void (*destructor)(PyObject *object) noexcept
    destructor dealloc_of(PyTypeObject *type) noexcept
    void set_dealloc(PyTypeObject *type, destructor function) noexcept
    int PyObject_CallFinalizerFromDealloc(PyObject *object) noexcept
    void PyObject_GC_UnTrack(PyObject *object) noexcept
    void find_finalizer_note(object fresh) noexcept
    object iterator_of(object awaitable)
    object empty_code(const char *file, const char *function)
    object idle_frame(object code, dict variables)
    # Sets an exception, as it is.
    void put_exception(object exception) noexcept
    void show_code(object function, object code) noexcept

cdef object FACE = types.CoroutineType


cdef class Coroutine:
    """One call of a compiled async function.

    It stands in for an interpreter's coroutine: `inspect.iscoroutine(coroutine)` is true.
    """

    @property
    def __class__(self):
        return FACE

    def __del__(self):
        if self.stage == SUSPENDED:
            self.close()
        elif self.stage == FRESH:
            self.stage = ENDED
            try:
                warnings._warn_unawaited_coroutine(self)
            except BaseException as error:
                # A warning that a filter made an error has no caller to go to.
                put_exception(error)
                PyErr_WriteUnraisable(self)

    # ---- what a concrete class overrides

    cdef object begin(self):
        return self.finish(None)

    cdef object resume(self, object value):
        return self.finish(value)

    cdef object fail(self, object exception):
        raise exception

    cdef str qualified_name(self):
        return type(self).__name__

    # ---- being driven by compiled code

    cdef int step(self, object sent, PyObject **result) except -1:
        """Go on with what was sent, to the next wait or to the end.

        Returns PYGEN_NEXT or PYGEN_RETURN and sets the result to a new reference.
        """
        cdef int outcome
        result[0] = NULL
        if self.stage == FRESH:
            if sent is not None:
                raise TypeError("can't send non-None value to a just-started coroutine")
        elif self.stage != SUSPENDED:
            self.check_may_step()
        outcome = advance_quietly(self, sent, result)
        if outcome == PYGEN_ERROR:
            self.end_by_error()
        return outcome

    cdef int thrown(self, object exception, PyObject **result) except -1:
        """Go on with an exception: as `step`."""
        cdef int outcome
        result[0] = NULL
        self.check_may_step()
        if self.stage == FRESH:
            self.stage = ENDED
            raise exception
        outcome = throw_quietly(self, exception, result)
        if outcome == PYGEN_ERROR:
            self.end_by_error()
        return outcome

    cdef int check_may_step(self) except -1:
        if self.stage == RUNNING:
            raise ValueError("coroutine already executing")
        if self.stage == ENDED:
            raise RuntimeError("cannot reuse already awaited coroutine")
        return 0

    cdef int end_by_error(self) except -1:
        """End with the exception that is set, which stays set."""
        error = take_exception()
        self.stage = ENDED
        needs_no_finalizer(self)
        self.awaited = None
        self.value = None
        if isinstance(error, StopIteration):
            # It would be taken for a return.
            raise RuntimeError("coroutine raised StopIteration") from error
        put_exception(error)
        return 0

    cdef int proceed(self, object awaitable, PyObject **result) except -1:
        """Await what a method returned, and what is returned after that, until one must wait."""
        while self.stage != ENDED:
            if awaitable is None:
                self.stage = SUSPENDED
                Py_INCREF(None)
                result[0] = <PyObject *>None
                return PYGEN_NEXT
            if type(awaitable) is Waiter and (<Waiter>awaitable).state == PENDING:
                (<Waiter>awaitable).blocking = True
                self.awaited = awaitable
                self.stage = SUSPENDED
                Py_INCREF(awaitable)
                result[0] = <PyObject *>awaitable
                return PYGEN_NEXT
            try:
                self.awaited = iterator_of(awaitable)
            except TypeError as error:
                awaitable = self.fail(error)
                continue
            awaitable = self.drive(None, result)
            if result[0] != NULL:
                return PYGEN_NEXT
        return hand_over(self, result)

    cdef object drive(self, object sent, PyObject **result):
        """Send to what is awaited. If it waits, the result is set to what it yields."""
        cdef PyObject *got = NULL
        cdef int outcome = PyIter_Send(self.awaited, sent, &got)
        if outcome == PYGEN_NEXT:
            self.stage = SUSPENDED
            result[0] = got
            return None
        self.awaited = None
        if outcome == PYGEN_RETURN:
            return self.resume(own_result(got))
        return self.fail_handling(take_exception())

    cdef object fail_handling(self, object exception):
        try:
            raise exception
        except BaseException as handled:
            return self.fail(handled)

    cdef object throw_into_awaited(self, object exception, PyObject **result):
        awaited = self.awaited
        if awaited is None or type(awaited) is FutureIterator or type(awaited) is Waiter:
            # The one of a future would only raise it again.
            self.awaited = None
            return self.fail_handling(exception)
        try:
            if isinstance(exception, GeneratorExit):
                close = getattr(awaited, "close", None)
                if close is not None:
                    close()
                raise exception
            throw = getattr(awaited, "throw", None)
            if throw is None:
                raise exception
            yielded = throw(exception)
        except StopIteration as stop:
            self.awaited = None
            value = stop.value
        except BaseException as error:
            self.awaited = None
            return self.fail(error)
        else:
            self.stage = SUSPENDED
            Py_INCREF(yielded)
            result[0] = <PyObject *>yielded
            return None
        return self.resume(value)

    # ---- being driven by hand

    def __await__(self):
        return self

    def __iter__(self):
        # What __await__ returns must be fit for `yield from`, in an __await__ written in Python.
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value, /):
        """Go on with `value`, and return what is yielded next, or raise StopIteration."""
        cdef PyObject *result = NULL
        if self.step(value, &result) == PYGEN_NEXT:
            return own_result(result)
        raise stop_iteration(own_result(result))

    def throw(self, typ, val=None, tb=None, /):
        """Raise an exception where the coroutine waits, and go on as `send` does."""
        cdef PyObject *result = NULL
        if self.thrown(made_exception(typ, val, tb), &result) == PYGEN_NEXT:
            return own_result(result)
        raise stop_iteration(own_result(result))

    def close(self):
        """End the coroutine where it waits, by GeneratorExit."""
        cdef PyObject *result = NULL
        if self.stage == FRESH:
            self.stage = ENDED
        if self.stage == ENDED:
            return
        try:
            outcome = self.thrown(GeneratorExit(), &result)
        except GeneratorExit:
            return
        own_result(result)
        if outcome == PYGEN_NEXT:
            raise RuntimeError("coroutine ignored GeneratorExit")

    # ---- being looked at

    def __repr__(self):
        return f"<coroutine object {self.qualified_name()} at {<size_t><PyObject *>self:#x}>"

    @property
    def __qualname__(self):
        return self.qualified_name()

    @property
    def __name__(self):
        return self.qualified_name().rpartition(".")[2]

    @property
    def cr_await(self):
        return self.awaited if self.stage == SUSPENDED else None

    @property
    def cr_running(self):
        return self.stage == RUNNING

    @property
    def cr_suspended(self):
        return self.stage == SUSPENDED

    @property
    def cr_state(self):
        # What inspect.getcoroutinestate returns from Python 3.15 on.
        if self.stage == FRESH:
            return inspect.CORO_CREATED
        if self.stage == RUNNING:
            return inspect.CORO_RUNNING
        return inspect.CORO_SUSPENDED if self.stage == SUSPENDED else inspect.CORO_CLOSED

    @property
    def cr_origin(self):
        return None

    @property
    def cr_code(self):
        file = type(self).__module__.replace(".", "/") + ".pyx"
        return empty_code(file.encode(), self.__name__.encode())

    @property
    def cr_frame(self):
        if self.stage == ENDED:
            return None
        return idle_frame(self.cr_code, {"__name__": type(self).__module__})


cdef object stop_iteration(object value):
    return StopIteration() if value is None else StopIteration(value)


cdef object made_exception(object kind, object value, object traceback):
    """Return the exception that is meant by the arguments of `throw`."""
    if traceback is not None and not isinstance(traceback, types.TracebackType):
        raise TypeError("throw() third argument must be a traceback object")
    if isinstance(kind, BaseException):
        if value is not None:
            raise TypeError("instance exception may not have a separate value")
        exception = kind
    elif isinstance(kind, type) and issubclass(kind, BaseException):
        if isinstance(value, kind):
            exception = value
        elif value is None:
            exception = kind()
        else:
            exception = kind(*value) if isinstance(value, tuple) else kind(value)
    else:
        raise TypeError(
            "exceptions must be classes or instances deriving from BaseException, "
            f"not {type(kind).__name__}"
        )
    return exception if traceback is None else exception.with_traceback(traceback)


cdef object mark_coroutine_function(object function):
    code = function.__code__
    show_code(function, code.replace(co_flags=code.co_flags | inspect.CO_COROUTINE))
    return function


# A try block costs a tenth of a step. These two leave their exception set, for the caller to see.

ctypedef int (*quiet)(Coroutine self, object sent, PyObject **result) noexcept
cdef quiet advance_quietly = <quiet><void *>advance
cdef quiet throw_quietly = <quiet><void *>throw


cdef inline int hand_over(Coroutine self, PyObject **result) except -1:
    """Set the result of what has ended."""
    needs_no_finalizer(self)
    value = self.value
    self.value = None
    Py_INCREF(value)
    result[0] = <PyObject *>value
    return PYGEN_RETURN


cdef int advance(Coroutine self, object sent, PyObject **result) except -1:
    cdef Waiter waiter
    if self.stage == FRESH:
        self.stage = RUNNING
        awaitable = self.begin()
        if self.stage == ENDED:
            return hand_over(self, result)
        return self.proceed(awaitable, result)
    self.stage = RUNNING
    if self.awaited is None:
        return self.proceed(self.resume(sent), result)
    if type(self.awaited) is Waiter:
        waiter = <Waiter>self.awaited
        if waiter.state == FINISHED and waiter.exception_set is None:
            self.awaited = None
            return self.proceed(self.resume(waiter.value), result)
    awaitable = self.drive(sent, result)
    if result[0] != NULL:
        return PYGEN_NEXT
    return self.proceed(awaitable, result)


cdef int throw(Coroutine self, object exception, PyObject **result) except -1:
    self.stage = RUNNING
    awaitable = self.throw_into_awaited(exception, result)
    if result[0] != NULL:
        return PYGEN_NEXT
    return self.proceed(awaitable, result)


class LoopOfNone:
    """Enough of a loop to make a future on."""

    @staticmethod
    def get_debug():
        return False


cdef int track_by_hand(type kind) except -1:
    leave_untracked(<PyTypeObject *>kind)
    return 0


cdef int send(Coroutine self, object value, PyObject **result) except -1:
    return self.step(value, result)


# ---- being used again

# An object that has ended is not taken apart and made anew: it only lets go of what it referred to.


cdef int keep_spares(type kind, Spares *spares) except -1:
    if not is_final(<PyTypeObject *>kind):
        raise TypeError(f"{kind.__name__} may have subclasses, which are of another size")
    spares.kind = <PyObject *>kind
    spares.count = 0
    spares.dealloc = dealloc_of(<PyTypeObject *>kind)
    set_dealloc(<PyTypeObject *>kind, lay_aside)
    return 0


cdef void lay_aside(PyObject *coroutine) noexcept:
    """In the place of tp_dealloc."""
    cdef Spares *spares = (<Coroutine>coroutine).spares
    if (<Coroutine>coroutine).stage != ENDED or spares.count == SPARES_MAX:
        # The class's own function leaves this out where another was put in its place.
        if PyObject_CallFinalizerFromDealloc(coroutine) == 0:
            spares.dealloc(coroutine)
        return
    # A collection that is under way must not come back to it.
    PyObject_GC_UnTrack(coroutine)
    bring_back_empty(coroutine)
    if spares.count == SPARES_MAX:
        # What it referred to went with it, and laid others aside.
        Py_DECREF(<object>coroutine)
        return
    drop_finalizer_note(coroutine)
    spares.kept[spares.count] = coroutine
    spares.count += 1


cdef type FutureIterator = type(iter(asyncio.Future(loop=LoopOfNone())))

set_coroutine_slots(<PyTypeObject *>Coroutine, <sendfunc>send)
find_finalizer_note(Coroutine.__new__(Coroutine))
check_receivers(globals())
