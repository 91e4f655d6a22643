"""How much memory does a task hold that waits for an item, with the queue it waits at?

The growth of this process's resident memory from the first tasks, one in fifty, to all of them, for
each task. Each has a queue of its own, or with `--at one` they wait in one line.
"""

from __future__ import annotations

import asyncio
import gc
import os

from harness import command_line, primitives, report, use_primitives_of
from memory_idle import FIRST_PART, memory_bytes
from peers import PEERS


async def grown_bytes(count: int, at: str) -> float:
    create_task, make = asyncio.get_running_loop().create_task, primitives().Queue
    shared = make()

    def start(number: int) -> list[asyncio.Task[object]]:
        queues = (shared if at == "one" else make() for _ in range(number))
        return [create_task(queue.get()) for queue in queues]

    first = int(count * FIRST_PART)
    tasks = start(first)
    await asyncio.sleep(0)
    gc.collect()
    before = memory_bytes(os.getpid())["Rss"]
    tasks += start(count - first)
    await asyncio.sleep(0)
    grown = memory_bytes(os.getpid())["Rss"] - before
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return grown / (count - first)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--at", choices=["own", "one"], default="own")
    options = parser.parse_args()
    loop = PEERS[options.loop].new_loop()
    use_primitives_of(options.loop, options.primitives)
    size = loop.run_until_complete(grown_bytes(options.count, options.at))
    loop.close()
    report(options.loop, bytes=size)


if __name__ == "__main__":
    main()
