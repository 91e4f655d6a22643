"""A task without an end of its own, ended by who made it."""

import asyncio


async def beat():
    while True:
        await asyncio.sleep(0.01)


async def main():
    task = asyncio.create_task(beat())
    await asyncio.sleep(0.1)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass


asyncio.run(main())
