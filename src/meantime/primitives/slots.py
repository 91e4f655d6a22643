"""Task groups with a limit: no more than so many of their tasks run at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Coroutine
from typing import Any, Protocol

from meantime.primitives.limits import Source, check_limit, close_rest


class Slots:
    """How many tasks of a group may run: those that there is no room for wait, in their order."""

    def __init__(self, limit: int) -> None:
        check_limit(limit)
        self.free = limit
        self.waiters: deque[asyncio.Future[None]] = deque()
        self.is_reserved = False

    async def take(self) -> None:
        """Wait until there is room, and take it."""
        if self.free and not self.waiters:
            self.free -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            if not waiter.cancel() and not waiter.cancelled():
                # It was given room, and goes without having used it.
                self.give()
            raise

    def give(self) -> None:
        """Hand the room of one to whoever has waited longest."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.free += 1

    def turn(self, coroutine: Coroutine[Any, Any, Any]) -> Turn:
        """Return the turn of a coroutine, in the room that was reserved for it, if any was."""
        has_room, self.is_reserved = self.is_reserved, False
        return Turn(self, coroutine, has_room)


class Turn:
    """A coroutine of a group, and the room that it runs in."""

    def __init__(self, slots: Slots, coroutine: Coroutine[Any, Any, Any], has_room: bool) -> None:
        self.slots = slots
        self.coroutine = coroutine
        self.has_room = has_room

    async def run(self) -> Any:
        """Run the coroutine, when there is room."""
        if not self.has_room:
            await self.slots.take()
            self.has_room = True
        return await self.coroutine

    def end(self, _: asyncio.Task[Any] | None = None) -> None:
        """Give the room back. A task that was cancelled before it began has left all to us."""
        self.coroutine.close()
        if self.has_room:
            self.has_room = False
            self.slots.give()


class Group(Protocol):
    """What is needed of a TaskGroup."""

    def create_task(self, coro: Any, /) -> asyncio.Task[Any]:
        """Run a coroutine as a task of the group."""
        ...


async def create_tasks(group: Group, source: Source, slots: Slots | None) -> None:
    """Create a task for each coroutine of `source`, when there is room for it.

    Coroutines in a source that was given as such are closed, unawaited, when no more are created.
    """
    if isinstance(source, AsyncIterable):
        asks = aiter(source)
        while await make_room(slots):
            try:
                coroutine = await anext(asks)
            except BaseException as error:
                give_back(slots)
                if isinstance(error, StopAsyncIteration):
                    return
                raise
            create_in_room(group, coroutine, slots)
        return
    takes = iter(source)
    try:
        while await make_room(slots):
            try:
                coroutine = next(takes)
            except BaseException as error:
                give_back(slots)
                if isinstance(error, StopIteration):
                    return
                raise
            create_in_room(group, coroutine, slots)
    finally:
        close_rest(source, takes)


async def make_room(slots: Slots | None) -> bool:
    """Take room for a task, if room is limited. Returns True."""
    if slots is not None:
        await slots.take()
    return True


def give_back(slots: Slots | None) -> None:
    """Give back room that no task was made for."""
    if slots is not None:
        slots.give()


def create_in_room(group: Group, coroutine: Any, slots: Slots | None) -> None:
    """Create a task in room that was taken for it."""
    if slots is not None:
        slots.is_reserved = True
    try:
        group.create_task(coroutine)
    except BaseException:
        if slots is not None and slots.is_reserved:
            slots.is_reserved = False
            slots.give()
        if asyncio.iscoroutine(coroutine):
            coroutine.close()
        raise
