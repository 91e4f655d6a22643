"""Waiting is what a loop is for."""

import asyncio

asyncio.run(asyncio.sleep(0.5))
