"""Many more functions than threads, each of them short."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor


async def main():
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    await asyncio.gather(*[asyncio.to_thread(time.sleep, 0.2) for _ in range(24)])


asyncio.run(main())
