"""What programs wait with: meantime's where the compiled core is there, asyncio's elsewhere.

Each is used as its namesake in asyncio is, and works on any event loop.
"""

from __future__ import annotations

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "LifoQueue",
    "Lock",
    "PriorityQueue",
    "Queue",
    "QueueShutDown",
    "Semaphore",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "TaskGroup",
    "Timeout",
    "as_completed",
    "gather",
    "open_connection",
    "open_unix_connection",
    "run_coroutine_threadsafe",
    "shield",
    "sleep",
    "start_server",
    "start_unix_server",
    "timeout",
    "timeout_at",
    "to_thread",
    "wait",
    "wait_for",
]

from meantime.primitives.shutdown import QueueShutDown

try:
    from meantime.primitives.completing import as_completed
    from meantime.primitives.conditions import Barrier, Condition
    from meantime.primitives.gathering import gather
    from meantime.primitives.locks import Event, Lock
    from meantime.primitives.queues import LifoQueue, PriorityQueue, Queue
    from meantime.primitives.semaphores import BoundedSemaphore, Semaphore
    from meantime.primitives.sleeping import sleep
    from meantime.primitives.streams import (
        StreamReader,
        StreamReaderProtocol,
        StreamWriter,
        open_connection,
        open_unix_connection,
        start_server,
        start_unix_server,
    )
    from meantime.primitives.taskgroups import TaskGroup
    from meantime.primitives.threads import run_coroutine_threadsafe, to_thread
    from meantime.primitives.timeouts import Timeout, timeout, timeout_at
    from meantime.primitives.waiting import shield, wait, wait_for
except ImportError as error:
    if not (error.name or "").startswith(("meantime._core", "meantime.primitives")):
        raise
    from asyncio import (  # type: ignore[assignment]
        Barrier,
        BoundedSemaphore,
        Condition,
        Event,
        LifoQueue,
        Lock,
        PriorityQueue,
        Queue,
        Semaphore,
        StreamReader,
        StreamReaderProtocol,
        StreamWriter,
        open_connection,
        open_unix_connection,
        start_server,
        start_unix_server,
    )

    from meantime.primitives.fallback import (  # type: ignore[assignment,no-redef]
        TaskGroup,
        Timeout,
        as_completed,
        gather,
        run_coroutine_threadsafe,
        shield,
        sleep,
        timeout,
        timeout_at,
        to_thread,
        wait,
        wait_for,
    )
