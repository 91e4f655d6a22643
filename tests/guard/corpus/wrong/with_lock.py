import asyncio
import threading
import time


class Account:
    def __init__(self):
        self.lock = threading.Lock()

    def book_slowly(self):
        with self.lock:
            time.sleep(0.4)

    async def book(self):
        with self.lock:  # wrong: blocked threading.Lock.__enter__ -> asyncio.Lock
            return 1


async def main():
    account = Account()
    other = threading.Thread(target=account.book_slowly)
    other.start()
    await asyncio.sleep(0.02)
    await account.book()
    await asyncio.to_thread(other.join)


asyncio.run(main())
