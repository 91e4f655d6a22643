import asyncio


async def report():
    await asyncio.sleep(10)


async def main():
    task = asyncio.create_task(report())  # wrong: leaked_task * -> TaskGroup
    await asyncio.sleep(0.01)
    return task.get_name()


asyncio.run(main())
