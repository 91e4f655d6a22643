"""A queue that is empty most of the time."""

import asyncio


async def produce(items):
    for n in range(4):
        await asyncio.sleep(0.4)
        await items.put(n)
    await items.put(None)


async def consume(items):
    while await items.get() is not None:
        pass


async def main():
    items = asyncio.Queue(1)
    await asyncio.gather(produce(items), consume(items))


asyncio.run(main())
