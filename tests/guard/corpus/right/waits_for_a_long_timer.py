"""One task waits for another, which waits for a timer."""

import asyncio


async def main():
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(1.8, event.set)
    await asyncio.gather(event.wait(), event.wait())


asyncio.run(main())
