"""Before the loop starts and after it has ended nobody waits for it."""

import asyncio
import time

time.sleep(0.2)
asyncio.run(asyncio.sleep(0.01))
time.sleep(0.2)
asyncio.run(asyncio.sleep(0.01))
