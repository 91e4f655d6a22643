import asyncio
import threading


async def main():
    event = threading.Event()
    threading.Timer(0.3, event.set).start()
    event.wait()  # wrong: blocked threading.Event.wait -> asyncio.Lock


asyncio.run(main())
