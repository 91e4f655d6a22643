"""What an error cuts off was not forgotten."""

import asyncio


async def main():
    asyncio.create_task(asyncio.sleep(10), name="cut off")
    await asyncio.sleep(0.01)
    raise SystemExit(0)


asyncio.run(main())
