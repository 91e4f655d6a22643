"""A thread that computes takes the GIL for 5 ms at a time: the loop's lines are not to blame."""

import asyncio
import threading
import time


def compute():
    while not ended:
        sum(range(1000))


async def main():
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        for _ in range(5):
            time.sleep(0)
        await asyncio.sleep(0.001)
    ended.append(True)


ended = []
for _ in range(3):
    threading.Thread(target=compute).start()
asyncio.run(main())
