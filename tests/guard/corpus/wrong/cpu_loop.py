import asyncio


async def main():
    await asyncio.sleep(0)
    return sum(n * n for n in range(5_000_000))  # wrong: blocked * -> to_process


asyncio.run(main())
