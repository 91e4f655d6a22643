"""Puts meantime's primitives in the place of asyncio's, wherever asyncio itself names them."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from meantime import primitives

if TYPE_CHECKING:
    from types import ModuleType


class Replaced(NamedTuple):
    """One name in one of asyncio's modules."""

    module: ModuleType
    name: str
    theirs: Any
    ours: Any


class PrimitivesSwap:
    """Replaces gather, Queue, Lock, … in asyncio and in its modules."""

    def __init__(self) -> None:
        self.replaced: list[Replaced] = []

    def begin(self) -> None:
        """Make asyncio's names ours: asyncio.gather, asyncio.tasks.gather, and so on."""
        pairs = [
            (getattr(asyncio, name, None), getattr(primitives, name)) for name in primitives.__all__
        ]
        ours_for = {id(theirs): ours for theirs, ours in pairs if theirs is not None}
        for module in modules_of_asyncio():
            for name, theirs in list(vars(module).items()):
                ours = ours_for.get(id(theirs), theirs)
                if ours is not theirs:
                    setattr(module, name, ours)
                    self.replaced.append(Replaced(module, name, theirs, ours))

    def end(self) -> None:
        """Put back what was there, unless somebody else has replaced ours since."""
        for module, name, theirs, ours in self.replaced:
            if vars(module).get(name) is ours:
                setattr(module, name, theirs)
        self.replaced.clear()


def modules_of_asyncio() -> list[ModuleType]:
    """Return asyncio and what it has imported of its own: it names things in several places."""
    return [
        module
        for name, module in list(sys.modules.items())
        if name == "asyncio" or name.startswith("asyncio.")
    ]
