import asyncio
import time


def wait_a_little(seconds):
    for _ in range(3):
        time.sleep(seconds)  # wrong: blocked time.sleep -> asyncio.sleep


async def main():
    wait_a_little(0.1)


asyncio.run(main())
