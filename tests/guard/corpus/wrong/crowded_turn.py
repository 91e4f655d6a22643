import asyncio
import time


def work():
    end = time.perf_counter() + 0.004
    while time.perf_counter() < end:  # wrong: crowded_turn * -> fewer at once
        pass


async def one():
    work()


async def main():
    await asyncio.gather(*[one() for _ in range(100)])


asyncio.run(main())
