"""A timeout cancels from within, and takes it back."""

import asyncio


async def main():
    for _ in range(3):
        try:
            async with asyncio.timeout(0.02):
                await asyncio.sleep(10)
        except TimeoutError:
            pass
    await asyncio.sleep(1.8)


asyncio.run(main())
