"""Many tasks at once, each with little to do."""

import asyncio


async def one():
    await asyncio.sleep(0.01)


async def main():
    await asyncio.gather(*[one() for _ in range(500)])


asyncio.run(main())
