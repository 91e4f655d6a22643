"""Blocks by name, and by no time that anybody would notice."""

import asyncio
import time


async def main():
    for _ in range(20):
        time.sleep(0.001)
        await asyncio.sleep(0.005)


asyncio.run(main())
