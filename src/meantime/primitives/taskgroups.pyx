# cython: binding=True
"""Task groups: tasks that end together, before their `async with` block is left."""
import asyncio
import sys
import weakref

cimport cython

from meantime._core.coroutine cimport FRESH, Coroutine, mark_coroutine_function
from meantime._core.receivers import check_receivers
from meantime.primitives import slots
from meantime.primitives.loops cimport (
    add_awaiter,
    add_callback,
    current_task,
    discard_awaiter,
    exception_of,
    new_wait,
    new_task,
    running_loop,
    was_cancelled,
)

cdef object CancelledError = asyncio.CancelledError

# What the versions of Python differ in.
cdef bint COUNTS_DONE_AT_ONCE = (3, 12) <= sys.version_info < (3, 14)
cdef bint CLOSES_REFUSED_COROUTINES = sys.version_info >= (3, 13)
cdef bint RESPECTS_SUBCLASSES = sys.version_info >= (3, 13)
cdef bint UNCANCELS_LAST = sys.version_info >= (3, 13)
cdef bint RECANCELS = sys.version_info >= (3, 13)
cdef bint PASSES_KEYWORDS_ON = sys.version_info >= (3, 14)
cdef bint FORGETS_AT_EXIT = sys.version_info >= (3, 14)
cdef bint CAN_BE_CANCELLED = sys.version_info >= (3, 15)

# Up to Python 3.12 a task whose group fails while it waits in __aexit__ counts as being cancelled
# from then on. These are the tasks that groups have cancelled, for those who go by that count.
cancelled_by_groups = weakref.WeakSet()


@cython.final
cdef class Entering(Coroutine):
    cdef TaskGroup group

    cdef str qualified_name(self):
        return "TaskGroup.__aenter__"

    cdef object begin(self):
        self.group.enter()
        return self.finish(self.group)


@cython.final
cdef class Exiting(Coroutine):
    cdef TaskGroup group
    cdef object kind
    cdef object exception
    cdef object cancellation      # what is to be raised at the end, if nothing is worse
    cdef object late_cancellation  # the last one that came while the tasks were waited for

    cdef str qualified_name(self):
        return "TaskGroup.__aexit__"

    cdef object begin(self):
        cdef TaskGroup group = self.group
        group.exiting = True
        exception = self.exception
        if exception is not None and group.base_error is None and group._is_base_error(exception):
            group.base_error = exception
        if self.kind is not None and is_cancellation(self.kind):
            self.cancellation = exception
        if not UNCANCELS_LAST and group.uncancel_parent():
            self.cancellation = None
        if self.kind is not None and not group.aborting:
            # The block raised, or its task is being cancelled.
            group._abort()
        return self.wait_or_end()

    cdef object wait_or_end(self):
        cdef TaskGroup group = self.group
        if group.tasks:
            if group.all_done is None:
                group.all_done = new_wait(group.loop)
            return group.all_done
        try:
            return self.finish(group.end(self))
        finally:
            if FORGETS_AT_EXIT:
                group.forget()

    cdef object resume(self, object value):
        self.group.all_done = None
        return self.wait_or_end()

    cdef object fail(self, object exception):
        cdef TaskGroup group = self.group
        if not isinstance(exception, CancelledError):
            if FORGETS_AT_EXIT:
                group.forget()
            raise exception
        self.late_cancellation = exception
        if not group.aborting:
            # Whoever waits for the group is being cancelled.
            self.cancellation = exception
            group._abort()
        # What is raised at the end does not come from this exception, so its handling ends here.
        return Nothing.__new__(Nothing)


@cython.final
cdef class Nothing(Coroutine):
    """To be awaited by a coroutine that goes on at once."""

    def __cinit__(self):
        self.stage = FRESH

    cdef str qualified_name(self):
        return "TaskGroup.__aexit__"


cdef bint is_cancellation(object kind):
    return kind is CancelledError or (RESPECTS_SUBCLASSES and issubclass(kind, CancelledError))

cdef object original = asyncio.TaskGroup


cdef class TaskGroup:
    """A group of tasks, which have all ended when its `async with` block is left.

    When a task raises, the others are cancelled, and so is the block. What was raised leaves the
    block as an ExceptionGroup.

    Args:
        limit: how many of its tasks may run at once; None for all.
    """
    cdef object __weakref__
    cdef dict __dict__
    cdef bint entered
    cdef bint exiting
    cdef bint aborting
    cdef bint parent_cancel_requested
    cdef bint cancel_on_enter
    cdef object loop
    cdef object parent_task
    cdef set tasks
    cdef list errors
    cdef object base_error

    @property
    def __class__(self):
        # Also for those who have asyncio's class at hand, perhaps from before ours took its place.
        return original if type(self) is TaskGroup else type(self)
    cdef object all_done          # a future that ends the wait in __aexit__
    cdef object on_done           # the callback of each task
    cdef object slots             # shared out among the tasks, where there is a limit

    def __cinit__(self, *args, **kwargs):
        self.tasks = set()
        self.errors = []

    def __init__(self, *, limit=None):
        self.slots = slots.Slots(limit) if limit is not None else None

    def __repr__(self):
        parts = [""]
        if self.tasks:
            parts.append(f"tasks={len(self.tasks)}")
        if self.errors:
            parts.append(f"errors={len(self.errors)}")
        if self.aborting:
            parts.append("cancelling")
        elif self.entered:
            parts.append("entered")
        return f"<TaskGroup{' '.join(parts)}>"

    def __aenter__(self):
        """Begin, in the task that runs."""
        cdef Entering entering = Entering.__new__(Entering)
        entering.group = self
        entering.stage = FRESH
        return entering

    def __aexit__(self, et, exc, tb):
        """Wait until all tasks have ended, and raise what they raised."""
        cdef Exiting exiting = Exiting.__new__(Exiting)
        exiting.group = self
        exiting.kind = et
        exiting.exception = exc
        exiting.stage = FRESH
        return exiting

    def create_task(self, coro, *, name=None, context=None, **kwargs):
        """Run a coroutine as a task of this group, and return the task.

        Where the group has a limit, the coroutine begins when fewer tasks than that are running, in
        the order of these calls.

        Args:
            coro: the coroutine.
            name: the task's name.
            context: the contextvars.Context to run in; by default a copy of the current one.
            kwargs: what else the loop's create_task takes, from Python 3.14 on.

        Raises:
            RuntimeError: the group has not been entered, has ended, or is being cancelled.
        """
        if kwargs and not PASSES_KEYWORDS_ON:
            raise TypeError(
                f"TaskGroup.create_task() got an unexpected keyword argument {next(iter(kwargs))!r}"
            )
        if not self.entered or self.aborting or (self.exiting and not self.tasks):
            self.refuse(coro)
        if self.slots is not None:
            return self.create_in_turn(coro, name, context, kwargs)
        return self.create(coro, name, context, kwargs)

    cdef object create_in_turn(self, object coro, object name, object context, dict kwargs):
        turn = self.slots.turn(coro)
        try:
            task = self.create(turn.run(), name, context, kwargs)
        except BaseException:
            turn.end()
            raise
        task.add_done_callback(turn.end)
        return task

    cdef object create(self, object coro, object name, object context, dict kwargs):
        if name is None and context is None and not kwargs:
            task = new_task(self.loop, coro)
        else:
            if context is not None:
                kwargs["context"] = context
            if name is not None or not PASSES_KEYWORDS_ON:
                kwargs["name"] = name
            task = self.loop.create_task(coro, **kwargs)
        self.adopt(task)
        return task

    cdef int refuse(self, object coro) except -1:
        if CLOSES_REFUSED_COROUTINES:
            coro.close()
        if not self.entered:
            raise RuntimeError(f"TaskGroup {self!r} has not been entered")
        if self.exiting and not self.tasks:
            raise RuntimeError(f"TaskGroup {self!r} is finished")
        raise RuntimeError(f"TaskGroup {self!r} is shutting down")

    cdef int adopt(self, object task) except -1:
        add_awaiter(task, self.parent_task)
        if COUNTS_DONE_AT_ONCE and task.done():
            self.on_done(task)
            return 0
        self.tasks.add(task)
        add_callback(task, self.on_done)
        if CAN_BE_CANCELLED and self.aborting and not task.done():
            # It was started eagerly, and ended the group before it belonged to it.
            task.cancel()
        return 0

    def create_tasks(self, aws):
        """Create a task for each coroutine that an iterable or async iterable gives.

        Where the group has a limit, each is asked for when there is room for it, so that not more
        than that many exist at a time. Returns when the last one has begun. Cancelling this begins
        no more of them.
        """
        return slots.create_tasks(self, aws, self.slots)

    cdef int enter(self) except -1:
        if self.entered:
            raise RuntimeError(f"TaskGroup {self!r} has already been entered")
        if self.loop is None:
            self.loop = running_loop()
        self.parent_task = current_task(self.loop)
        if self.parent_task is None:
            raise RuntimeError(f"TaskGroup {self!r} cannot determine the parent task")
        self.on_done = self._on_task_done
        self.entered = True
        if self.cancel_on_enter:
            self.cancel_block()
        return 0

    cdef bint uncancel_parent(self) except -1:
        """Take back the cancellation of the block. Returns whether no other one is pending."""
        return self.parent_cancel_requested and self.parent_task.uncancel() == 0

    cdef object end(self, Exiting leaving):
        """Say what leaves the block, by raising or returning it."""
        kind = leaving.kind
        cancellation = leaving.cancellation
        self.on_done = None
        if self.base_error is not None:
            raise self.base_error
        if UNCANCELS_LAST and self.parent_cancel_requested:
            if self.uncancel_parent():
                cancellation = None
            elif CAN_BE_CANCELLED and cancellation is None:
                cancellation = leaving.late_cancellation
        if cancellation is not None and not self.errors:
            raise cancellation
        if kind is not None and not is_cancellation(kind):
            self.errors.append(leaving.exception)
        if not self.errors:
            # What is left is the cancellation that the group asked for itself, by cancel().
            return True if CAN_BE_CANCELLED or self.parent_cancel_requested else None
        if RECANCELS and self.parent_task.cancelling():
            # Somebody else's cancellation goes on; the count of them stays.
            self.parent_task.uncancel()
            self.parent_task.cancel()
        if (
            CAN_BE_CANCELLED and kind is not None and issubclass(kind, GeneratorExit)
            and len(self.errors) == 1
        ):
            raise leaving.exception
        try:
            raise BaseExceptionGroup("unhandled errors in a TaskGroup", self.errors) from None
        finally:
            # Exceptions hold frames, and those may hold the group.
            self.errors = None

    cdef int forget(self) except -1:
        self.parent_task = None
        self.errors = None
        self.base_error = None
        return 0

    # asyncio's private names, which subclasses override, and cancel(), which is public since 3.15.

    def _is_base_error(self, exc):
        return isinstance(exc, (SystemExit, KeyboardInterrupt))

    def _abort(self):
        self.aborting = True
        # Cancelling may run code that takes tasks out.
        for task in list(self.tasks):
            if not task.done():
                task.cancel()

    @cython.binding(False)
    def _on_task_done(self, task):
        self.tasks.discard(task)
        if self.parent_task is not None:
            discard_awaiter(task, self.parent_task)
        if not self.tasks and self.all_done is not None and not self.all_done.done():
            self.all_done.set_result(True)
        if was_cancelled(task):
            return
        exception = exception_of(task)
        if exception is None:
            return
        self.errors.append(exception)
        if self.base_error is None and self._is_base_error(exception):
            self.base_error = exception
        if self.parent_task.done():
            self.loop.call_exception_handler({
                "message": f"Task {task!r} has errored out but its parent task "
                           f"{self.parent_task} is already completed",
                "exception": exception,
                "task": task,
            })
            return
        if not self.aborting and not self.parent_cancel_requested:
            self.cancel_block()

    cdef int cancel_block(self) except -1:
        """Cancel the tasks, and the block that they belong to."""
        self._abort()
        self.parent_cancel_requested = True
        if not UNCANCELS_LAST:
            cancelled_by_groups.add(self.parent_task)
        self.parent_task.cancel()
        return 0

    def cancel(self):
        """Cancel all tasks and the block, which then ends without an error.

        Before the group was entered, it is cancelled on entering. After it has ended, nothing
        happens.
        """
        if not self.entered:
            self.cancel_on_enter = True
        elif not self.aborting and not (self.exiting and not self.tasks):
            self.cancel_block()

    @property
    def _tasks(self):
        return self.tasks

    @property
    def _errors(self):
        return self.errors

    @property
    def _loop(self):
        return self.loop

    @property
    def _parent_task(self):
        return self.parent_task

    @property
    def _entered(self):
        return self.entered

    @property
    def _exiting(self):
        return self.exiting

    @property
    def _aborting(self):
        return self.aborting

    @property
    def _base_error(self):
        return self.base_error

    @property
    def _parent_cancel_requested(self):
        return self.parent_cancel_requested

    @property
    def _on_completed_fut(self):
        return self.all_done


mark_coroutine_function(TaskGroup.__aenter__)
mark_coroutine_function(TaskGroup.__aexit__)
mark_coroutine_function(TaskGroup.create_tasks)
check_receivers(globals())
