"""Likewise wait_for."""

import asyncio


async def main():
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.02)
    except TimeoutError:
        pass
    await asyncio.sleep(1.8)


asyncio.run(main())
