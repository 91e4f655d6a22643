"""A call in a subinterpreter: another Python in this process, with a lock (GIL) of its own.

It costs less than a process and runs as much in parallel, but it cannot be ended from outside, a
crash takes the program with it, and it can only import what was made for subinterpreters.
"""

from __future__ import annotations

import atexit
import importlib
import pickle
import sys
import threading
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import packets
from .calls import Call, Failure, name_of
from .pickles import pack_context
from .processes import WorkerFunctionError, error_of, pack
from .threads import call_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

HAS_INTERPRETERS = sys.version_info >= (3, 14)

# As for a worker process: see workers.py.
BOOTSTRAP = """
import pickle
import sys
package = type(sys)("_meantime_offload")
package.__path__ = [folder]
sys.modules["_meantime_offload"] = package
sys.path[:] = path
from _meantime_offload.jobs import perform, share_modules
share_modules()
"""

JOB = """
sys.path[:] = path
kind, parcel = perform(lambda: pickle.loads(request), are_buffers_apart=False)
answers.put((kind, b"".join(parcel.pieces)))
del request, parcel
"""


class Interpreters:
    """Keeps interpreters that wait for another call."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.idle: list[Any] = []

    def take(self) -> Any:
        """Return an interpreter for one call."""
        with self.lock:
            if self.idle:
                return self.idle.pop()
        return Interpreter()

    def give_back(self, interpreter: Any) -> None:
        """Take one back."""
        with self.lock:
            self.idle.append(interpreter)

    def stop(self) -> None:
        """End those that are idle."""
        with self.lock:
            idle, self.idle = self.idle, []
        for interpreter in idle:
            interpreter.close()


class Interpreter:
    """One interpreter, and the queue by which its answers come."""

    def __init__(self) -> None:
        module = importlib.import_module("concurrent.interpreters")
        self.interpreter = module.create()
        self.answers = module.create_queue()
        folder = str(Path(__file__).parent)
        self.interpreter.prepare_main(folder=folder, path=tuple(sys.path), answers=self.answers)
        self.interpreter.exec(BOOTSTRAP)

    def perform(self, request: bytes) -> tuple[bytes, bytes]:
        """Do a job, and return the answer."""
        self.interpreter.prepare_main(request=request, path=tuple(sys.path))
        self.interpreter.exec(JOB)
        answer: tuple[bytes, bytes] = self.answers.get()
        return answer

    def close(self) -> None:
        """End it."""
        self.interpreter.close()


INTERPRETERS = Interpreters()
atexit.register(INTERPRETERS.stop)


def perform(request: bytes) -> tuple[bytes, bytes]:
    """Do a job in any interpreter. Called in a thread."""
    interpreter = INTERPRETERS.take()
    try:
        answer: tuple[bytes, bytes] = interpreter.perform(request)
    except Exception as failure:
        interpreter.close()
        # Exceptions of the function come as answers: this is one that ends a program.
        raise WorkerFunctionError(
            f"the function ended its interpreter: {str(failure).strip().partition(chr(10))[0]}. "
            "Raise an exception in place of sys.exit."
        ) from failure
    INTERPRETERS.give_back(interpreter)
    return answer


def check_python() -> None:
    """Refuse a Python that has no interpreters to give.

    Raises:
        RuntimeError: it is older than 3.14.
    """
    if not HAS_INTERPRETERS:
        raise RuntimeError(
            "where='interpreter' needs Python 3.14 or later, and this is Python "
            f"{sys.version_info.major}.{sys.version_info.minor}: before, subinterpreters have no "
            "public interface. Use where='process', which takes the same arguments."
        )


async def call_in_interpreter(
    function: Callable[..., Any] | tuple[str, str],
    args: tuple[Any, ...],
    keywords: dict[str, Any],
    limiter: AbstractAsyncContextManager[Any],
    timeout: float | None,
    is_for_each: bool = False,
) -> Any:
    """Call a function in a subinterpreter, and return its result."""
    name = name_of(function)
    context = pack_context(copy_context())
    parcel = pack(
        Call(function, args, keywords, context, is_for_each), name, are_buffers_apart=False
    )
    request = b"".join(parcel.pieces)
    kind, answer = await call_in_thread(
        partial(perform, request), limiter, timeout, None, None, name
    )
    value = pickle.loads(answer)
    if kind == packets.ERROR:
        raise error_of(Failure(*value))
    return value
