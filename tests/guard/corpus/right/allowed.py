"""The user knows, and says so."""

import asyncio
import time

import meantime


async def start():
    with meantime.allow_blocking():
        time.sleep(0.3)


asyncio.run(start())
