"""What is allowed holds for the task that asked for it, also after an await."""

import asyncio
import time

import meantime


async def start():
    with meantime.allow_blocking():
        await asyncio.sleep(0.01)
        time.sleep(0.3)
        await asyncio.sleep(0.01)


async def main():
    await asyncio.gather(start(), asyncio.sleep(0.05))


asyncio.run(main())
