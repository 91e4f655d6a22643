"""Small documents."""

import asyncio
import json


async def main():
    for _ in range(200):
        json.loads(json.dumps({"a": list(range(100))}))
        await asyncio.sleep(0)


asyncio.run(main())
