import asyncio


async def main():
    answer = asyncio.get_running_loop().create_future()
    await answer  # wrong: deadlock * -> never set


asyncio.run(main())
