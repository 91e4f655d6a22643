"""A list of tasks, awaited one after the other: the second has failed long before."""

import asyncio


async def slow():
    await asyncio.sleep(2.2)


async def fail():
    raise ValueError("early")


async def main():
    tasks = [asyncio.create_task(slow()), asyncio.create_task(fail())]
    for task in tasks:
        try:
            await task
        except ValueError:
            pass


asyncio.run(main())
