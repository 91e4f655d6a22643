"""Calling first and awaiting later is fine."""

import asyncio


async def work():
    return 1


async def main():
    later = work()
    await asyncio.sleep(0.05)
    assert await later == 1


asyncio.run(main())
