import asyncio
import time


async def main():
    await asyncio.sleep(0)
    time.sleep(0.3)  # wrong: blocked time.sleep -> asyncio.sleep


asyncio.run(main())
