import asyncio
import re


async def main():
    await asyncio.sleep(0.01)
    re.match(r"(a+)+$", "a" * 24 + "b")  # wrong: blocked re.match -> nested repeats


asyncio.run(main())
