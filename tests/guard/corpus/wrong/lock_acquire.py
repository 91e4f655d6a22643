import asyncio
import threading

lock = threading.Lock()


async def main():
    lock.acquire()
    threading.Timer(0.3, lock.release).start()
    lock.acquire()  # wrong: blocked threading.Lock.acquire -> asyncio.Lock


asyncio.run(main())
