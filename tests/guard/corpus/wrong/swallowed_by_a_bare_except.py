import asyncio


async def serve(stop):
    try:
        await asyncio.sleep(10)
    except:  # noqa: E722
        pass
    await stop.wait()  # wrong: swallowed_cancellation * -> CancelledError


async def main():
    stop = asyncio.Event()
    task = asyncio.create_task(serve(stop))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.sleep(2.5)
    stop.set()
    await task


asyncio.run(main())
