"""A lock of threads that nobody holds costs nothing."""

import asyncio
import threading


async def main():
    lock = threading.Lock()
    for _ in range(1000):
        with lock:
            pass
        await asyncio.sleep(0)


asyncio.run(main())
