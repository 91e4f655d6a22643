import asyncio
import os


async def main():
    os.system("sleep 0.3")  # wrong: blocked os.system -> create_subprocess_shell


asyncio.run(main())
