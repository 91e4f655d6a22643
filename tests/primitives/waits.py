"""Waiting in tests: for turns of the loop, and for what does not come."""

import asyncio
import contextlib


async def turns(count):
    """Give way to the loop this many times."""
    for _ in range(count):
        await asyncio.sleep(0)


@contextlib.contextmanager
def pending_wait(loop, awaitable):
    """Have somebody wait on the loop for the length of the block; then the wait is cancelled."""
    task = loop.create_task(waited_for(awaitable))
    loop.run_until_complete(turns(2))
    assert not task.done()
    try:
        yield task
    finally:
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))


async def waited_for(awaitable):
    return await awaitable


def hold(*_):
    """Do nothing: bound to an object, it is a callback that holds it."""
