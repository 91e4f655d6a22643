"""meantime: a drop-in event loop for asyncio programs, on io_uring and epoll.

`meantime.run(main())` runs a coroutine, as asyncio.run does. Every public name of asyncio is here
as well, so that a program may say `import meantime as asyncio`. Importing changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from meantime import files as files
from meantime.errors import BackendError as BackendError
from meantime.errors import FallbackWarning as FallbackWarning
from meantime.errors import GuardError as GuardError
from meantime.errors import GuardWarning as GuardWarning
from meantime.errors import WorkerDiedError as WorkerDiedError
from meantime.files import Path as Path
from meantime.files import open_file as open_file
from meantime.guard import allow_blocking as allow_blocking
from meantime.guard import begin_by_environment
from meantime.guard import guard as guard
from meantime.loop import EventLoop as EventLoop
from meantime.loop import backend as backend
from meantime.offload import CapacityLimiter as CapacityLimiter
from meantime.offload import WorkerFunctionError as WorkerFunctionError
from meantime.offload import WorkerTraceback as WorkerTraceback
from meantime.offload import connect_cluster as connect_cluster
from meantime.offload import default_limiter as default_limiter
from meantime.offload import offload as offload
from meantime.offload import offload_map as offload_map
from meantime.offload import report_progress as report_progress
from meantime.offload import stop_workers as stop_workers
from meantime.offload import to_cluster as to_cluster
from meantime.offload import to_interpreter as to_interpreter
from meantime.offload import to_process as to_process
from meantime.primitives import Barrier as Barrier
from meantime.primitives import BoundedSemaphore as BoundedSemaphore
from meantime.primitives import Condition as Condition
from meantime.primitives import Event as Event
from meantime.primitives import LifoQueue as LifoQueue
from meantime.primitives import Lock as Lock
from meantime.primitives import PriorityQueue as PriorityQueue
from meantime.primitives import Queue as Queue
from meantime.primitives import QueueShutDown as QueueShutDown
from meantime.primitives import Semaphore as Semaphore
from meantime.primitives import StreamReader as StreamReader
from meantime.primitives import StreamReaderProtocol as StreamReaderProtocol
from meantime.primitives import StreamWriter as StreamWriter
from meantime.primitives import TaskGroup as TaskGroup
from meantime.primitives import Timeout as Timeout
from meantime.primitives import as_completed as as_completed
from meantime.primitives import gather as gather
from meantime.primitives import open_connection as open_connection
from meantime.primitives import open_unix_connection as open_unix_connection
from meantime.primitives import run_coroutine_threadsafe as run_coroutine_threadsafe
from meantime.primitives import shield as shield
from meantime.primitives import sleep as sleep
from meantime.primitives import start_server as start_server
from meantime.primitives import start_unix_server as start_unix_server
from meantime.primitives import timeout as timeout
from meantime.primitives import timeout_at as timeout_at
from meantime.primitives import to_thread as to_thread
from meantime.primitives import wait as wait
from meantime.primitives import wait_for as wait_for
from meantime.runner import Runner as Runner
from meantime.runner import install as install
from meantime.runner import new_event_loop as new_event_loop
from meantime.runner import run as run
from meantime.runner import uninstall as uninstall

if TYPE_CHECKING:
    # At run time the names of asyncio come by __getattr__, below. Type checkers read them here.
    from asyncio import *  # type: ignore[assignment,no-redef]  # noqa: F403

    # Again, as the last word: these take more than asyncio's.
    from meantime.primitives import TaskGroup as TaskGroup
    from meantime.primitives import as_completed as as_completed
    from meantime.primitives import gather as gather

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "Barrier",
    "BoundedSemaphore",
    "CapacityLimiter",
    "Condition",
    "Event",
    "EventLoop",
    "FallbackWarning",
    "GuardError",
    "GuardWarning",
    "LifoQueue",
    "Lock",
    "Path",
    "PriorityQueue",
    "Queue",
    "QueueShutDown",
    "Runner",
    "Semaphore",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "TaskGroup",
    "Timeout",
    "WorkerDiedError",
    "WorkerFunctionError",
    "WorkerTraceback",
    "__version__",
    "allow_blocking",
    "as_completed",
    "backend",
    "connect_cluster",
    "default_limiter",
    "files",
    "gather",
    "guard",
    "install",
    "new_event_loop",
    "offload",
    "offload_map",
    "open_connection",
    "open_file",
    "open_unix_connection",
    "report_progress",
    "run",
    "run_coroutine_threadsafe",
    "shield",
    "sleep",
    "start_server",
    "start_unix_server",
    "stop_workers",
    "timeout",
    "timeout_at",
    "to_cluster",
    "to_interpreter",
    "to_process",
    "to_thread",
    "uninstall",
    "wait",
    "wait_for",
]


def __getattr__(name: str) -> Any:
    """Return asyncio's object of that name."""
    # asyncio's own list has a few names with an underscore, which libraries import.
    if not name.startswith("_") or name in asyncio.__all__:
        try:
            return getattr(asyncio, name)
        except AttributeError:
            pass
    raise AttributeError(f"module 'meantime' has no attribute {name!r}, and nor has asyncio")


def __dir__() -> list[str]:
    return sorted({*globals(), *asyncio.__all__})


begin_by_environment()
