"""Programs drawn at random, and what becomes of them: the same with asyncio's primitives and ours.

A program is a tree. Its leaves sleep, return and raise; the other nodes wait for their children by
one of the primitives. From outside, tasks are cancelled at given times. The clock is a script's, so
a program always does the same, and many things happen at the same time.
"""

import asyncio
import itertools
import sys
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.core.scripted import ScriptedLoop

DELAYS_S = st.sampled_from([0, 0, 1, 2, 2, 3, 5])
TIMEOUTS_S = st.sampled_from([None, -1, 0, 1, 2, 2, 3, 4])
CONDITIONS = st.sampled_from(
    [asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION]
)
PRIMITIVES = ["wait_for", "timeout", "shield", "gather", "wait", "as_completed", "group"]
if sys.version_info >= (3, 13):
    PRIMITIVES.append("async_completed")


# A group cancels its tasks in the order of a set, which with plain tasks is that of their memory.
ORDERED = tuple(kind for kind in PRIMITIVES if kind != "group")


@dataclass
class Node:
    """A coroutine to be: what it does first, its children, and how it does it."""

    kind: str
    delay_s: float
    children: tuple["Node", ...] = ()
    timeout_s: float | None = None
    is_lenient: bool = False
    condition: str = asyncio.ALL_COMPLETED
    end: str = "returns"


def leaves():
    return st.builds(
        Node,
        kind=st.just("sleep"),
        delay_s=DELAYS_S,
        is_lenient=st.booleans(),
        end=st.sampled_from(["returns", "returns", "raises", "cancels itself"]),
    )


def nodes(children, kinds):
    return st.builds(
        Node,
        kind=st.sampled_from(kinds),
        delay_s=st.sampled_from([0, 0, 1]),
        children=st.lists(children, min_size=1, max_size=3).map(tuple),
        timeout_s=TIMEOUTS_S,
        is_lenient=st.booleans(),
        condition=CONDITIONS,
        end=st.sampled_from(["returns", "returns", "returns", "raises"]),
    )


def programs(kind, kinds=tuple(PRIMITIVES)):
    """Return a strategy for programs whose root waits by this primitive."""
    inner = st.recursive(leaves(), lambda children: nodes(children, kinds), max_leaves=5)
    return nodes(inner, (kind,))


CANCELLATIONS = st.lists(st.tuples(st.sampled_from([0, 1, 2, 2, 3]), st.integers(0, 6)), max_size=3)


class NumberedTask(asyncio.Task):
    """A task whose place in a set does not depend on where its memory is."""

    def __init__(self, *args, number, **kwargs):
        self.number = number
        super().__init__(*args, **kwargs)

    def __hash__(self):
        return self.number

    def __eq__(self, other):
        return self is other


class Performance:
    """One run of a program, with the primitives of one module."""

    def __init__(self, module, is_debugged, has_numbered_tasks):
        self.module = module
        self.loop = ScriptedLoop()
        self.loop.set_debug(is_debugged)
        self.trace = []
        self.tasks = []
        self.labels = itertools.count()
        self.is_numbered = has_numbered_tasks
        if has_numbered_tasks:
            numbers = itertools.count()
            self.loop.set_task_factory(
                lambda loop, coro, **kwargs: NumberedTask(
                    coro, loop=loop, number=next(numbers), **kwargs
                )
            )

    def run(self, root, cancellations):
        """Return what happened, in its order."""
        loop = self.loop
        try:
            self.start(self.perform(root, "root"))
            for when_s, number in cancellations:
                loop.call_later(when_s, self.cancel, number)
            loop.run_for(60)
            self.trace.extend(
                (situation["message"], named(situation.get("exception")))
                for situation in loop.failures
                # That depends on when the collector finds the task.
                if "was never retrieved" not in situation["message"]
            )
            self.trace.extend(("task", self.outcome(task)) for task in self.tasks)
            return list(self.trace)
        finally:
            self.end_all()
            loop.close()

    def end_all(self):
        """Cancel what is left, which may take several attempts."""
        for _ in range(20):
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.loop.run_for(60)
        assert not left
        self.tasks.clear()

    def outcome(self, task):
        if not task.done():
            return "never ends"
        if task.cancelled():
            return "is cancelled"
        return named(task.exception()) if task.exception() else task.result()

    def start(self, coroutine):
        task = self.loop.create_task(coroutine)
        self.tasks.append(task)
        return task

    def cancel(self, number):
        task = self.tasks[number % len(self.tasks)]
        self.note("outside", "cancels", number % len(self.tasks), task.cancel("from outside"))

    def note(self, label, *what):
        self.trace.append((label, round(self.loop.time(), 6), *what))

    async def perform(self, node, label):
        self.note(label, "begins")
        try:
            result = await self.do(node, label)
        except BaseException as error:
            self.note(label, "fails", named(error), asyncio.current_task().cancelling())
            raise
        self.note(label, "ends", result, asyncio.current_task().cancelling())
        return result

    async def do(self, node, label):
        try:
            await self.module.sleep(node.delay_s)
        except asyncio.CancelledError as error:
            self.note(label, "is cancelled", error.args)
            if not node.is_lenient:
                raise
        if node.kind == "sleep":
            return self.finish(node, label)
        children = [
            self.perform(child, f"{label}.{number}") for number, child in enumerate(node.children)
        ]
        try:
            result = await getattr(self, node.kind)(node, label, children)
        except (Exception, asyncio.CancelledError) as error:
            self.note(label, "sees", named(error))
            if not node.is_lenient:
                raise
            result = "forgiven"
        self.note(label, "has", result)
        return self.finish(node, label)

    def finish(self, node, label):
        if node.end == "raises":
            raise LookupError(label)
        if node.end == "cancels itself":
            raise asyncio.CancelledError(label)
        return label

    # ---- the primitives

    async def wait_for(self, node, label, children):
        return [await self.module.wait_for(child, node.timeout_s) for child in children]

    async def timeout(self, node, label, children):
        async with self.module.timeout(node.timeout_s) as timeout:
            for child in children:
                await child
                if node.condition == asyncio.FIRST_COMPLETED:
                    timeout.reschedule(self.loop.time() + 1)
        return timeout.expired()

    async def shield(self, node, label, children):
        shielded = [self.module.shield(self.start(child)) for child in children]
        return [await future for future in shielded]

    async def gather(self, node, label, children):
        is_quiet = node.condition == asyncio.FIRST_EXCEPTION
        children += children[:1] if node.condition == asyncio.FIRST_COMPLETED else []
        results = await self.module.gather(*children, return_exceptions=is_quiet)
        return [named(result) for result in results]

    async def wait(self, node, label, children):
        tasks = [self.start(child) for child in children]
        timeout_s = node.timeout_s
        done, pending = await self.module.wait(tasks, timeout=timeout_s, return_when=node.condition)
        return sorted(map(tasks.index, done)), sorted(map(tasks.index, pending))

    async def as_completed(self, node, label, children):
        tasks = [self.start(child) for child in children]
        results = []
        for following in self.module.as_completed(tasks, timeout=node.timeout_s):
            try:
                results.append(await following)
            except (LookupError, TimeoutError) as error:
                results.append(named(error))
        return results

    async def async_completed(self, node, label, children):
        tasks = [self.start(child) for child in children]
        results = []
        try:
            async for task in self.module.as_completed(tasks, timeout=node.timeout_s):
                results.append(tasks.index(task))  # noqa: PERF401  what came in time counts
        except TimeoutError:
            results.append("too late")
        return results

    async def group(self, node, label, children):
        async with self.module.TaskGroup() as group:
            for child in children:
                try:
                    self.tasks.append(group.create_task(child))
                except RuntimeError as refusal:
                    child.close()
                    self.note(label, "is refused", named(refusal))
            if node.condition == asyncio.FIRST_COMPLETED:
                await self.module.sleep(1)
        return repr(group)


def named(value):
    """Return what can be compared of an exception: its kind, arguments, and what it came from."""
    if isinstance(value, BaseExceptionGroup):
        return (type(value).__name__, [named(inner) for inner in value.exceptions])
    if not isinstance(value, BaseException):
        return value
    return (
        type(value).__name__,
        value.args,
        type(value.__cause__).__name__,
        type(value.__context__).__name__,
    )
