import asyncio
from time import sleep as pause


async def fetch():
    pause(0.3)  # wrong: blocked time.sleep -> asyncio.sleep


async def main():
    await asyncio.gather(fetch(), asyncio.sleep(0.1))


asyncio.run(main())
