"""Nothing is left but a signal."""

import asyncio
import os
import signal
import subprocess
import sys


async def main():
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, came.set)
    code = f"import os, time; time.sleep(1.8); os.kill({os.getpid()}, 10)"
    child = subprocess.Popen([sys.executable, "-c", code])
    await came.wait()
    await asyncio.to_thread(child.wait)


asyncio.run(main())
