"""An asynchronous generator that is left in the middle is closed by the loop."""

import asyncio


async def numbers():
    for n in range(10):
        yield n
        await asyncio.sleep(0)


async def main():
    async for n in numbers():
        if n == 3:
            break
    await asyncio.sleep(0.01)


asyncio.run(main())
