import asyncio
import queue
import threading


async def main():
    items = queue.Queue()
    threading.Timer(0.3, items.put, [1]).start()
    items.get()  # wrong: blocked queue.Queue.get -> asyncio.Queue


asyncio.run(main())
