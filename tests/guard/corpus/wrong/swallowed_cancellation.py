import asyncio


async def poll():
    while not finished:
        try:
            await asyncio.sleep(0.2)  # wrong: swallowed_cancellation * -> CancelledError
        except asyncio.CancelledError:
            pass


finished = []


async def main():
    task = asyncio.create_task(poll())
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.sleep(2.5)
    finished.append(True)
    await task


asyncio.run(main())
