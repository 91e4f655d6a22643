"""asyncio's set of all tasks, filled by compiled code.

Up to Python 3.13 each new task adds itself to a WeakSet, whose methods are Python code: a fifth of
what a short task costs. Here are `add` and the callback that takes a dead task out again, as the
WeakSet does them. It stays the same object with the same contents, for whoever looks into it.
"""
import asyncio
import sys
import weakref

cimport cython
from cpython.set cimport PySet_Add, PySet_Discard
from cpython.weakref cimport PyWeakref_NewRef


# From Python 3.14 on a task is linked to the others in C, and the set is for other kinds of tasks.
cdef bint IS_FILLED_BY_TASKS = sys.version_info < (3, 14)


@cython.final
cdef class Adding:
    """The fast `add` of one WeakSet."""
    cdef set data                 # the references to its members
    cdef set iterating            # who iterates over it now
    cdef list pending             # dead references, to be taken out when nobody iterates any more
    cdef object commit
    cdef object drop

    def add(self, task):
        """Add a task to the set, as long as it lives."""
        if self.pending:
            self.commit()
        PySet_Add(self.data, PyWeakref_NewRef(task, self.drop))

    def drop_dead(self, reference):
        """Take a task out that has died."""
        if self.iterating:
            self.pending.append(reference)
        else:
            PySet_Discard(self.data, reference)


@cython.binding(True)  # with a signature that introspection can read
def quicken_all_tasks():
    """Let new tasks be added by compiled code, if this Python's tasks are in a WeakSet at all."""
    cdef Adding adding
    tasks = getattr(
        asyncio.tasks, "_scheduled_tasks", getattr(asyncio.tasks, "_all_tasks", None))
    if type(tasks) is not weakref.WeakSet or "add" in vars(tasks) or not IS_FILLED_BY_TASKS:
        return
    adding = Adding.__new__(Adding)
    adding.data = tasks.data
    adding.iterating = tasks._iterating
    adding.pending = tasks._pending_removals
    adding.commit = tasks._commit_removals
    adding.drop = adding.drop_dead
    tasks.add = adding.add
