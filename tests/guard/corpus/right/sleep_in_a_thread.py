"""The blocking call has a thread of its own."""

import asyncio
import time


async def main():
    await asyncio.gather(*[asyncio.to_thread(time.sleep, 0.3) for _ in range(3)])


asyncio.run(main())
