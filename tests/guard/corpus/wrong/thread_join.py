import asyncio
import threading
import time


async def main():
    thread = threading.Thread(target=time.sleep, args=(0.3,))
    thread.start()
    thread.join()  # wrong: blocked threading.Thread.join -> to_thread(thread.join)


asyncio.run(main())
