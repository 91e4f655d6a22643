"""Shielded from cancellation, and awaited in the end."""

import asyncio


async def save():
    await asyncio.sleep(1.8)


async def main():
    saving = asyncio.create_task(save())
    waiting = asyncio.ensure_future(asyncio.shield(saving))
    await asyncio.sleep(0.02)
    waiting.cancel()
    await saving


asyncio.run(main())
