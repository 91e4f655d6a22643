import asyncio


async def count():
    return 1


async def main():
    total = count()  # wrong: never_awaited count -> await count
    await asyncio.sleep(0.01)
    return bool(total)


asyncio.run(main())
