import asyncio
import time
from concurrent.futures import ThreadPoolExecutor


async def main():
    # wrong: blocked concurrent.futures.Executor.__exit__ -> wrap_future
    with ThreadPoolExecutor(1) as pool:
        pool.submit(time.sleep, 0.3)


asyncio.run(main())
