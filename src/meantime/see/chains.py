"""What a task waits in: the chain from its own coroutine down to the call that really waits.

Everything here only looks. Nothing is called that belongs to the program, and what is looked at is
let go of at once.
"""

from __future__ import annotations

import asyncio
import gc
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from meantime.see.places import is_own, is_runtime_file

# A chain that is longer is cut. So deep a recursion is no chain of waits that a reader could use.
LINKS_MAX = 200

# What the attributes of each begin with.
PREFIXES = {CoroutineType: "cr", AsyncGeneratorType: "ag", GeneratorType: "gi"}

# These hold what they wait for without naming it.
WRAPPERS = {
    "coroutine_wrapper",
    "async_generator_asend",
    "async_generator_athrow",
    "anext_awaitable",
}

# Waits of asyncio's, and of meantime's, that end when another task of the same program does
# something. That other task waits for something itself, and is counted for it.
WAITS_FOR_TASKS = {
    "TaskGroup.__aexit__",
    "TaskGroup._aexit",
    "TaskGroup.create_tasks",
    "wait",
    "_wait",
    "wait_for",
    "as_completed.<locals>._wait_for_one",
    "_AsCompletedIterator._wait_for_one",
    "Lock.acquire",
    "Lock.__aenter__",
    "Semaphore.acquire",
    "Semaphore.__aenter__",
    "BoundedSemaphore.__aenter__",
    "Condition.wait",
    "Condition.__aenter__",
    "Barrier.wait",
    "Barrier._wait",
    "Barrier._block",
    "Queue.get",
    "Queue.put",
    "Queue.join",
    "Server.serve_forever",
    "Server.wait_closed",
}


def links_of(coroutine: Any) -> list[Any]:
    """Return a coroutine, what it awaits, what that awaits, and so on to the future at the end."""
    links: list[Any] = []
    while coroutine is not None and len(links) < LINKS_MAX:
        links.append(coroutine)
        coroutine = awaited_by(coroutine)
    return links


def awaited_by(link: Any) -> Any:
    """Return what a coroutine, generator or wrapper of one waits for; None when it does not say."""
    kind = type(link)
    if kind is CoroutineType:
        return link.cr_await
    if kind is AsyncGeneratorType:
        return link.ag_await
    if kind is GeneratorType:
        return link.gi_yieldfrom
    if kind.__name__ in WRAPPERS:
        return next(filter(is_link, gc.get_referents(link)), None)
    return getattr(link, "cr_await", None)


def is_link(candidate: Any) -> bool:
    """Return whether a chain goes on in this object."""
    return type(candidate) in PREFIXES


def code_of(link: Any) -> Any:
    """Return the code of a Python coroutine or generator; None for anything else."""
    prefix = PREFIXES.get(type(link))
    return None if prefix is None else getattr(link, f"{prefix}_code")


def frame_of(link: Any) -> Any:
    """Return the frame of a Python coroutine or generator that is suspended; None when it ended."""
    return getattr(link, f"{PREFIXES[type(link)]}_frame")


def ends_outside(future: Any, links: list[Any]) -> bool:
    """Return whether a wait ends by something from outside the program's own tasks.

    A timer, a connection, a thread and another process are outside. A task, a lock, a queue and a
    group of tasks are not: who counted them too would count the same wait twice.
    """
    if isinstance(future, asyncio.Task) or type(future).__name__ == "_GatheringFuture":
        return False
    if is_shield(future):
        return False
    for position in range(len(links) - 1, -1, -1):
        name = getattr(links[position], "__qualname__", None)
        if name is None:
            continue
        if not is_of_runtime(links[position]):
            return True
        if name == "Event.wait":
            return not is_waited_for_by_user(links[:position])
        return name not in WAITS_FOR_TASKS
    return True


def is_of_runtime(link: Any) -> bool:
    """Return whether a coroutine is one of asyncio's or of meantime's."""
    code = code_of(link)
    if code is None:
        return type(link).__module__.startswith("meantime.")
    return is_runtime_file(code.co_filename)


def is_waited_for_by_user(links: list[Any]) -> bool:
    """Return whether the last Python code of a chain is the user's.

    An event that the user waits for is set by another task. One that a library waits for (anyio's
    connections, for one) is most often set when data comes.
    """
    code = next(filter(None, map(code_of, reversed(links))), None)
    return code is not None and is_own(code)


def is_shield(future: Any) -> bool:
    """Return whether this is what asyncio.shield returned: the task inside is counted itself."""
    callbacks = getattr(future, "_callbacks", None) or ()
    return any(
        "shield" in getattr(entry[0], "__qualname__", "").lower()
        or "shield" in type(getattr(entry[0], "__self__", None)).__name__.lower()
        for entry in callbacks
        if isinstance(entry, tuple)
    )
