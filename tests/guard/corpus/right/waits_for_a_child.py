"""Nothing is left but a program that runs."""

import asyncio


async def main():
    process = await asyncio.create_subprocess_exec("sleep", "1.8")
    await process.wait()


asyncio.run(main())
