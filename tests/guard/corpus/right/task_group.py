"""A group waits for its tasks."""

import asyncio


async def work(n):
    await asyncio.sleep(n / 100)


async def main():
    async with asyncio.TaskGroup() as group:
        for n in range(5):
            group.create_task(work(n))


asyncio.run(main())
