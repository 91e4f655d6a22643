import asyncio

tasks = []


async def work():
    raise ValueError("nobody hears")  # wrong: lost_exception * -> TaskGroup


async def main():
    tasks.append(asyncio.create_task(work()))
    await asyncio.sleep(0.02)


asyncio.run(main())
