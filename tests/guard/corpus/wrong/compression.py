import asyncio
import os
import zlib

DATA = os.urandom(12_000_000)


async def main():
    zlib.compress(DATA, 9)  # wrong: blocked zlib.compress -> to_thread(gzip.compress


asyncio.run(main())
