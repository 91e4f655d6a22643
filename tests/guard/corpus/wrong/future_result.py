import asyncio
import time
from concurrent.futures import ThreadPoolExecutor


async def main():
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(time.sleep, 0.3)
        future.result()  # wrong: blocked concurrent.futures.Future.result -> wrap_future


asyncio.run(main())
