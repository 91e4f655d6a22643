import asyncio


async def main():
    items = asyncio.Queue()
    await items.get()  # wrong: deadlock * -> never set


asyncio.run(main())
