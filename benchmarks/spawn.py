"""How many programs can a loop start and wait for in a second?

The program is /bin/true, with nothing redirected. `--at-once` starts so many and waits for all.
`--heap-mib` first fills so much memory: a `fork` would copy the table of its pages each time.
With `--cost` only the parent's processor time counts, not what the children use.
"""

from __future__ import annotations

import asyncio
import mmap
from asyncio import AbstractEventLoop

from harness import Laps, ask

PROGRAM = "/bin/true"


def filled_heap(size_mib: int) -> mmap.mmap | None:
    """Return so much private memory, each page of it written to.

    In pages of 4 KiB, as a heap of many small objects has them.
    """
    if not size_mib:
        return None
    size_bytes = size_mib * 1024 * 1024
    heap = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    heap.madvise(mmap.MADV_NOHUGEPAGE)
    for page in range(0, size_bytes, mmap.PAGESIZE):
        heap[page] = 1
    return heap


async def spawn_and_wait() -> None:
    process = await asyncio.create_subprocess_exec(PROGRAM)
    if status := await process.wait():
        raise RuntimeError(f"{PROGRAM} ended with exit status {status}")


async def spawn_laps(laps: Laps, at_once: int) -> None:
    """Spawn lap by lap. A lap takes half a millisecond or more, so the clock does not count."""
    while True:
        if at_once == 1:
            await spawn_and_wait()
        else:
            await asyncio.gather(*(spawn_and_wait() for _ in range(at_once)))
        if not laps.more():
            return


def measure(loop: AbstractEventLoop, laps: Laps, *, at_once: int, heap_mib: int) -> float:
    heap = filled_heap(heap_mib)
    loop.run_until_complete(spawn_laps(laps, at_once))
    if heap is not None:
        heap.close()
    return laps.per_second(at_once)


if __name__ == "__main__":
    # Not pinned: the children may use the other core, as they would elsewhere.
    ask(__doc__, measure, is_pinned=False, at_once=1, heap_mib=0)
