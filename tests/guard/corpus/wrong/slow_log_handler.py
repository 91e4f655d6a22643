import asyncio
import logging
import time


class FarAway(logging.Handler):
    def emit(self, record):
        time.sleep(0.3)  # wrong: blocked time.sleep -> asyncio.sleep


logging.basicConfig(handlers=[FarAway()])


async def main():
    logging.warning("something")


asyncio.run(main())
