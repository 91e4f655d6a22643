"""One fails, the others are cancelled, and the group raises it."""

import asyncio


async def fail():
    await asyncio.sleep(0.01)
    raise ValueError("on purpose")


async def main():
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(asyncio.sleep(10))
    except* ValueError:
        pass
    await asyncio.sleep(1.5)


asyncio.run(main())
