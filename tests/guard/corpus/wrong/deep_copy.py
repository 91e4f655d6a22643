import asyncio
import copy

DATA = [{"n": [n] * 5} for n in range(100_000)]


async def main():
    copy.deepcopy(DATA)  # wrong: blocked copy.deepcopy -> to_process


asyncio.run(main())
