"""A call in a worker process."""

from __future__ import annotations

import pickle
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from . import packets
from .calls import Call, Failure, name_of
from .parcels import SLOW_BYTES_MIN, Parcel, is_small
from .pickles import pack_context
from .pool import POOL
from .workers import WorkerLeftError, wait_for_thread

if TYPE_CHECKING:
    from collections.abc import Callable


class WorkerTraceback(Exception):  # noqa: N818 - it is no error, but the cause of one
    """Where in the worker an exception was raised. It is the `__cause__` of that exception."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class WorkerFunctionError(Exception):
    """A function raised an exception that cannot be sent back. Its cause has the traceback."""


async def call_in_process(
    function: Callable[..., Any] | tuple[str, str],
    args: tuple[Any, ...],
    keywords: dict[str, Any],
    timeout: float | None = None,
    on_progress: Callable[..., None] | None = None,
    is_for_each: bool = False,
) -> Any:
    """Call a function in a worker process, and return its result. No limit is kept here."""
    call = Call(function, args, keywords, pack_context(copy_context()), is_for_each)
    name = name_of(function)
    parcel = pack(call, name)
    while True:
        worker = POOL.take(name)
        try:
            answer = await worker.perform(name, parcel, timeout, on_progress)
        except WorkerLeftError:
            POOL.drop(worker)  # nothing has begun: the next one gets the job
        except BaseException:
            POOL.drop(worker)
            raise
        else:
            break
    POOL.give_back(worker)
    del call, parcel
    return await take_answer(answer)


def pack(call: Call, name: str, are_buffers_apart: bool = True) -> Parcel:
    """Return a call ready to be sent.

    Raises:
        pickle.PicklingError: it cannot be pickled.
    """
    try:
        is_quick = not call.keywords and not call.context and is_small(call.args)
        return Parcel(tuple(call), are_buffers_apart, is_quick)
    except Exception as refusal:
        raise pickle.PicklingError(
            f"{name} cannot be sent to another process with these arguments: {refusal}. A process "
            "gets copies, made with pickle. Pass plain data and open files, sockets and locks "
            "inside the function, or use where='thread'."
        ) from refusal


async def take_answer(answer: packets.Packet) -> Any:
    """Return the result, or raise the exception."""
    if answer.copied_bytes() >= SLOW_BYTES_MIN:
        value = await wait_for_thread(answer.load)
    else:
        value = answer.load()
    if answer.kind == packets.ERROR:
        raise error_of(Failure(*value))
    return value


def error_of(failure: Failure) -> BaseException:
    """Return the exception of a failure, with the worker's traceback as its cause."""
    error: BaseException
    if failure.pickled is None:
        error = WorkerFunctionError(
            f"{failure.summary}: this exception itself cannot be sent between processes, so its "
            "traceback is all there is. Give its class arguments that can be pickled, or raise "
            "another one."
        )
    else:
        error = pickle.loads(failure.pickled)
    error.__cause__ = WorkerTraceback(failure.traceback)
    return error
