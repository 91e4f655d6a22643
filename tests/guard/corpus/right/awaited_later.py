"""A task that failed early, and is awaited late: a variable holds it."""

import asyncio


async def fail():
    raise ValueError("early")


async def main():
    task = asyncio.create_task(fail())
    await asyncio.sleep(2.2)
    try:
        await task
    except ValueError:
        pass


asyncio.run(main())
