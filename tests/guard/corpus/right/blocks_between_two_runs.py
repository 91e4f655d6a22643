"""The loop is there, but does not run."""

import asyncio
import time

with asyncio.Runner() as runner:
    runner.run(asyncio.sleep(0.01))
    time.sleep(0.3)
    runner.run(asyncio.sleep(0.01))
