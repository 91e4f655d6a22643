"""Reading a small file blocks by name only."""

import asyncio
from pathlib import Path


async def main():
    for _ in range(50):
        Path(__file__).read_text()
        with open(__file__) as file:
            file.read()
        await asyncio.sleep(0)


asyncio.run(main())
