import asyncio
import json

TEXT = json.dumps([{"name": str(n), "values": [n] * 20} for n in range(120_000)])


async def main():
    await asyncio.sleep(0)
    return len(json.loads(TEXT))  # wrong: blocked json.loads -> to_process(json.loads


asyncio.run(main())
