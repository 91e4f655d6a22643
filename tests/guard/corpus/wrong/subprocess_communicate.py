import asyncio
import subprocess


async def main():
    process = subprocess.Popen(["sleep", "0.3"], stdout=subprocess.PIPE)
    process.communicate()  # wrong: blocked subprocess.Popen.communicate -> create_subprocess_exec


asyncio.run(main())
