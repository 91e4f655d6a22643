import asyncio
import re

PATTERN = re.compile(r"(a+)+$")


async def main():
    PATTERN.match("a" * 24 + "b")  # wrong: blocked re.Pattern.match -> nested repeats


asyncio.run(main())
