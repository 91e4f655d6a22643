"""The event loop: ours where its compiled core is there, asyncio's where it is missing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from meantime.loop.fallback import FallbackLoop, give_reason

if TYPE_CHECKING:
    from meantime.loop.eventloop import EventLoop

__all__ = ["EventLoop", "backend"]

try:
    from meantime.loop.choice import name_of_choice
    from meantime.loop.eventloop import EventLoop
except ImportError as error:
    # CPython and Cython say it in words of their own, and have no exception of its own for it.
    if "interpreter" in str(error):
        raise ImportError(
            "meantime cannot be used in this interpreter: its compiled core serves the first one "
            "of a process that imports it, and no subinterpreter beside that. Use asyncio here, or "
            f"run meantime in a process of its own. ({error})",
            name=__name__,
        ) from error
    if not (error.name or "").startswith("meantime._core"):
        raise
    EventLoop = FallbackLoop  # type: ignore[misc,assignment]
    name_of_choice = give_reason(error)


def backend() -> str:
    """Return what waits for events here: "io_uring", "epoll", or "epoll: " and the reason.

    This is about the loop that runs in this thread, if it is one of ours, and else about the loop
    that `new_event_loop` would make.

    Raises:
        ValueError: MEANTIME_BACKEND names no backend.
        BackendError: MEANTIME_BACKEND asks for one that this machine refuses.
    """
    running = asyncio._get_running_loop()
    if isinstance(running, EventLoop):
        return running._backend
    return name_of_choice()
