"""The event loop: ours where its compiled core is there, asyncio's where it is missing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from meantime.loop.fallback import FallbackLoop, fallback_name

if TYPE_CHECKING:
    from meantime.loop.eventloop import EventLoop

__all__ = ["EventLoop", "backend"]

missing_core: ImportError | None = None
try:
    from meantime.loop.choice import open_poller
    from meantime.loop.eventloop import EventLoop
except ImportError as error:
    if not (error.name or "").startswith("meantime._core"):
        raise
    missing_core = error
    EventLoop = FallbackLoop  # type: ignore[misc,assignment]


def backend() -> str:
    """Return what waits for events here: "io_uring", "epoll", or "epoll: " and the reason.

    This is about the loop that runs in this thread, if it is one of ours, and else about the loop
    that `new_event_loop` would make.

    Raises:
        ValueError: MEANTIME_BACKEND names no backend.
        BackendError: MEANTIME_BACKEND asks for one that this machine refuses.
    """
    if missing_core is not None:
        return fallback_name(missing_core)
    running = asyncio._get_running_loop()
    if isinstance(running, EventLoop):
        return running._backend
    poller, name = open_poller(None)
    poller.close()
    return name
