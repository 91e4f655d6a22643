"""The request is handed on to a task that takes its time."""

import asyncio


async def inner():
    try:
        await asyncio.sleep(10)
    finally:
        await asyncio.sleep(2)


async def outer():
    await asyncio.create_task(inner())


async def main():
    task = asyncio.create_task(outer())
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])


asyncio.run(main())
