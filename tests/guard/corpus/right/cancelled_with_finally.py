"""The end of a connection that takes its time."""

import asyncio


async def serve():
    try:
        await asyncio.sleep(10)
    finally:
        await asyncio.sleep(2)


async def main():
    task = asyncio.create_task(serve())
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])


asyncio.run(main())
