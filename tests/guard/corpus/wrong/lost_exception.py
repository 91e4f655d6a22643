import asyncio


async def work():
    raise ValueError("nobody hears")  # wrong: lost_exception * -> TaskGroup


tasks = set()


async def main():
    tasks.add(asyncio.create_task(work()))
    await asyncio.sleep(2)


asyncio.run(main())
