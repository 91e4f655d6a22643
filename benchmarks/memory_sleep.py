"""How much memory does a task hold that does nothing but sleep?

The growth of this process's resident memory from the first tasks, one in fifty, to all of them, for
each task.
"""

from __future__ import annotations

import asyncio
import gc
import os

from harness import command_line, primitives, report, use_primitives_of
from memory_idle import FIRST_PART, memory_bytes
from peers import PEERS

LONG_S = 3600


async def grown_bytes(count: int) -> float:
    sleep, create_task = primitives().sleep, asyncio.get_running_loop().create_task
    first = int(count * FIRST_PART)
    tasks = [create_task(sleep(LONG_S)) for _ in range(first)]
    await sleep(0)
    gc.collect()
    before = memory_bytes(os.getpid())["Rss"]
    tasks += [create_task(sleep(LONG_S)) for _ in range(count - first)]
    await sleep(0)
    grown = memory_bytes(os.getpid())["Rss"] - before
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return grown / (count - first)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    options = parser.parse_args()
    loop = PEERS[options.loop].new_loop()
    use_primitives_of(options.loop, options.primitives)
    size = loop.run_until_complete(grown_bytes(options.count))
    loop.close()
    report(options.loop, bytes=size)


if __name__ == "__main__":
    main()
