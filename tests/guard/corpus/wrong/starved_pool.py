import asyncio
import time
from concurrent.futures import ThreadPoolExecutor


def wait_long():
    time.sleep(3)  # wrong: starved_pool * -> more threads


async def main():
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(2))
    await asyncio.gather(
        asyncio.to_thread(wait_long), asyncio.to_thread(wait_long), asyncio.to_thread(abs, -1)
    )


asyncio.run(main())
