import asyncio


async def work():
    raise ValueError("nobody hears")  # wrong: lost_exception * -> TaskGroup


async def main():
    asyncio.create_task(work())
    await asyncio.sleep(0.2)


asyncio.run(main())
