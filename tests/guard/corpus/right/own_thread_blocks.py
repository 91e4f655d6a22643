"""A thread may sleep as long as it likes."""

import asyncio
import threading
import time


async def main():
    thread = threading.Thread(target=time.sleep, args=(0.4,))
    thread.start()
    await asyncio.sleep(0.5)
    thread.join()


asyncio.run(main())
