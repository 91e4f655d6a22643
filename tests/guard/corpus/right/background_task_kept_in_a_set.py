"""As Python's manual has it: kept in a set until it is done."""

import asyncio

background = set()


async def work():
    await asyncio.sleep(0.02)


async def main():
    for _ in range(5):
        task = asyncio.create_task(work())
        background.add(task)
        task.add_done_callback(background.discard)
    await asyncio.sleep(0.2)


asyncio.run(main())
