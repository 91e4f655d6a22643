import asyncio


async def save():
    await asyncio.sleep(0)


async def main():
    save()  # wrong: never_awaited save -> await save
    await asyncio.sleep(0.01)


asyncio.run(main())
