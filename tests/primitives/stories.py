"""Schedules: programs of operations, cancellations and timeouts, and what became of each.

A schedule is played with asyncio's primitive and with ours, on the same loop. Nothing in it waits
for time or for the world: a turn of the loop is its clock. So two primitives that behave alike have
the same story, with the same turn at each of its entries.
"""

import asyncio

from hypothesis import strategies as st

TURNS_AT_THE_END = 6


def schedules(operations, calls):
    """Return a strategy of schedules, of the named async operations and plain calls."""
    start = st.tuples(
        st.just("start"),
        st.sampled_from(operations),
        st.integers(0, 2),
        st.sampled_from(["plain", "timed", "plain", "stubborn"]),
    )
    cancel = st.tuples(st.just("cancel"), st.integers(0, 9))
    turn = st.tuples(st.just("turn"))
    steps = [start, cancel, turn]
    if calls:
        steps.append(st.tuples(st.just("call"), st.sampled_from(calls), st.integers(0, 2)))
    return st.lists(st.one_of(steps), min_size=1, max_size=30)


class Story:
    """Plays one schedule, and takes down what happens in which turn."""

    def __init__(self, subject):
        self.subject = subject
        self.entries = []
        self.turn = 0
        self.tasks = []

    def note(self, *entry):
        self.entries.append((self.turn, *entry))

    async def play(self, schedule):
        """Return the whole story."""
        for step, *arguments in schedule:
            if step == "turn":
                self.turn += 1
                await asyncio.sleep(0)
            else:
                getattr(self, step)(*arguments)
            self.note("state", self.subject.state())
        await self.turns()
        # Again and again: a stubborn one takes a cancellation for itself, and who waits for a lock
        # that nobody releases cannot be cancelled.
        for _ in range(2 + len(self.tasks)):
            self.subject.let_go()
            for task in self.tasks:
                task.cancel()
            await self.turns()
        assert all(task.done() for task in self.tasks)
        self.note("end", self.subject.state())
        return self.entries

    async def turns(self):
        for _ in range(TURNS_AT_THE_END * (1 + len(self.tasks))):
            self.turn += 1
            await asyncio.sleep(0)

    def start(self, operation, number, manner):
        task = self.follow(len(self.tasks), getattr(self.subject, operation), number, manner)
        self.tasks.append(asyncio.ensure_future(task))

    def cancel(self, which):
        if self.tasks:
            self.tasks[which % len(self.tasks)].cancel(f"number {which}")

    def call(self, name, number):
        try:
            self.note("called", name, getattr(self.subject, name)(number))
        except Exception as error:  # noqa: BLE001  what it raises is the outcome
            self.note("call raised", name, type(error).__name__, str(error))

    async def follow(self, task, operation, number, manner):
        try:
            if manner == "timed":
                # Its time is up already, so it comes in the next turn.
                async with asyncio.timeout(-1):
                    value = await operation(number, task)
            else:
                value = await operation(number, task)
        except asyncio.CancelledError as error:
            self.note("cancelled", task, error.args)
            if manner != "stubborn":
                raise
        except Exception as error:  # noqa: BLE001  what it raises is the outcome
            self.note("raised", task, type(error).__name__, str(error))
        else:
            self.note("returned", task, value)


def story_of(loop, subject, schedule):
    """Return what happens to a subject in a schedule, on this loop."""
    story = Story(subject)
    loop.run_until_complete(story.play(schedule))
    return story.entries
