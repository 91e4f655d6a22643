"""A callback looks at how the task has ended."""

import asyncio

seen = []


async def fail():
    raise ValueError("seen")


async def main():
    task = asyncio.create_task(fail())
    task.add_done_callback(lambda done: seen.append(done.exception()))
    await asyncio.sleep(1.3)
    assert seen


asyncio.run(main())
