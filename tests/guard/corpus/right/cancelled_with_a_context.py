"""What `async with` closes may take a while."""

import asyncio


class Connection:
    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        await asyncio.sleep(2)


async def serve():
    async with Connection():
        await asyncio.sleep(10)


async def main():
    task = asyncio.create_task(serve())
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])


asyncio.run(main())
