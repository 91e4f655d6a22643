"""What a worker does with a job, be it a process or an interpreter.

It imports nothing of meantime's but its neighbours. They stand in a package of another name there,
since importing meantime takes longer than many jobs take to run.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import calls, packets, parcels, pickles, progress
from .calls import Failure, name_of, unsendable_result
from .parcels import Parcel

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMES_OF_OURS = 2
"""How many of our own functions stand above the job's in a traceback."""


def share_modules() -> None:
    """Let jobs find the modules of this package by their own names, without importing meantime."""
    for module in (calls, packets, parcels, pickles, progress):
        name = module.__name__.rpartition(".")[2]
        sys.modules.setdefault(f"meantime.offload.{name}", module)


def perform(load: Callable[[], Any], are_buffers_apart: bool = True) -> tuple[bytes, Parcel]:
    """Do the job that `load` returns. Returns the kind of the answer, and the answer."""
    try:
        call = load()
    except Exception as error:  # noqa: BLE001 - unpickling may call anything
        error.add_note(
            "The worker could not load the function or its arguments. It looks for modules "
            "where the program does (sys.path); a function or class that is made while the program "
            "runs has to be a global of its module, or of the program's main file."
        )
        return packets.ERROR, Parcel(tuple(Failure.of(error)))
    try:
        result = calls.perform(*call)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
        return packets.ERROR, Parcel(tuple(Failure.of(error, frames_skipped=FRAMES_OF_OURS)))
    try:
        return packets.RESULT, Parcel(result, are_buffers_apart)
    except Exception as refusal:  # noqa: BLE001 - pickling may call anything
        unsendable = unsendable_result(name_of(call[0]), refusal)
        return packets.ERROR, Parcel(tuple(Failure.of(unsendable)))
