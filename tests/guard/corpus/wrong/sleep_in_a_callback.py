import asyncio
import time


def on_timer(future):
    time.sleep(0.3)  # wrong: blocked time.sleep -> asyncio.sleep
    future.set_result(None)


async def main():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(0.01, on_timer, future)
    await future


asyncio.run(main())
