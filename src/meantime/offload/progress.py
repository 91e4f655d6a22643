"""What a running function tells whoever waits for it.

Parent and worker both use this file. It imports nothing of meantime's.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LISTENER: ContextVar[Callable[..., None] | None] = ContextVar("LISTENER", default=None)
"""In a thread of the program itself: what takes a report."""


class Worker:
    """In a worker: what takes a report, from whichever thread."""

    listener: Callable[..., None] | None = None


def report_progress(*values: Any) -> None:
    """Tell whoever waits for this function how far it is.

    `values` may be anything that can be sent to a process; `on_progress(*values)` is called with
    them in the event loop's thread. Where nobody listens, and outside of `offload`, this does
    nothing.
    """
    listener = LISTENER.get() or Worker.listener
    if listener is not None:
        listener(*values)
