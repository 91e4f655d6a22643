"""Made, not wanted after all, and closed."""

import asyncio


async def work():
    pass


async def main():
    work().close()
    await asyncio.sleep(0.01)


asyncio.run(main())
