import asyncio
import random

NUMBERS = [random.random() for _ in range(1_500_000)]


async def main():
    return sorted(NUMBERS)[0]  # wrong: blocked sorted -> to_process


asyncio.run(main())
