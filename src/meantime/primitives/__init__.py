"""What programs wait with: meantime's where the compiled core is there, asyncio's elsewhere.

Each is used as its namesake in asyncio is, and works on any event loop.
"""

from __future__ import annotations

__all__ = [
    "TaskGroup",
    "Timeout",
    "as_completed",
    "gather",
    "run_coroutine_threadsafe",
    "shield",
    "sleep",
    "timeout",
    "timeout_at",
    "to_thread",
    "wait",
    "wait_for",
]

try:
    from meantime.primitives.completing import as_completed
    from meantime.primitives.gathering import gather
    from meantime.primitives.sleeping import sleep
    from meantime.primitives.taskgroups import TaskGroup
    from meantime.primitives.threads import run_coroutine_threadsafe, to_thread
    from meantime.primitives.timeouts import Timeout, timeout, timeout_at
    from meantime.primitives.waiting import shield, wait, wait_for
except ImportError as error:
    if not (error.name or "").startswith(("meantime._core", "meantime.primitives")):
        raise
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
