"""The exceptions are results."""

import asyncio


async def fail():
    raise ValueError("a result")


async def main():
    found = await asyncio.gather(fail(), fail(), asyncio.sleep(0.01), return_exceptions=True)
    assert len(found) == 3
    await asyncio.sleep(1.3)


asyncio.run(main())
