"""A long computation that gives way often enough."""

import asyncio


async def main():
    total = 0
    for n in range(60):
        total += sum(range(20_000))
        await asyncio.sleep(0)
    return total


asyncio.run(main())
