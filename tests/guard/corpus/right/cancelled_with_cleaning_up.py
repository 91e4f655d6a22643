"""Cleaning up takes a while, and then CancelledError goes on."""

import asyncio


async def serve():
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        await asyncio.sleep(2)
        raise


async def main():
    task = asyncio.create_task(serve())
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])


asyncio.run(main())
