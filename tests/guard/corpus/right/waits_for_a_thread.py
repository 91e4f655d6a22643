"""Nothing is ready and no timer is set, but a thread will come."""

import asyncio
import threading
import time


def answer(loop, future):
    time.sleep(2)
    loop.call_soon_threadsafe(future.set_result, 1)


async def main():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    threading.Thread(target=answer, args=(loop, future)).start()
    assert await future == 1


asyncio.run(main())
