import asyncio
import subprocess


async def main():
    # wrong: blocked subprocess.run -> create_subprocess_exec
    subprocess.run(["sleep", "0.3"], check=True)


asyncio.run(main())
