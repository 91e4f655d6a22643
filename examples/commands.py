"""Three shell commands run at the same time, and what each prints comes as soon as it is there.

python commands.py
meantime run commands.py
"""

import asyncio
import time
from asyncio.subprocess import PIPE


async def follow(name, command):
    process = await asyncio.create_subprocess_shell(command, stdout=PIPE)
    async for line in process.stdout:
        print(f"{name}: {line.decode().strip()}")
    return await process.wait()


async def main():
    started = time.monotonic()

    codes = await asyncio.gather(
        follow("washing", "echo on; sleep 1; echo clean"),
        follow("dryer", "sleep 0.5; echo on; sleep 1.5; echo dry"),
        follow("iron", "sleep 1.5; echo hot; exit 3"),
    )

    print("Exit codes:", *codes)
    print(f"One after the other takes 4.5 s. Together it took {time.monotonic() - started:.0f} s.")


asyncio.run(main())
