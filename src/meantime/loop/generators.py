"""Asynchronous generators: closing those that a program left in the middle.

A generator that is dropped half-way may have an `async with` or a `finally` with awaits to run, and
only a loop can run them. The interpreter tells the running loop of each generator's first step and
of its end by the collector; this is where it listens.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
import weakref
from typing import TYPE_CHECKING, Any

from meantime.loop.face import Face

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Generators(Face):
    """Follows the generators that run in this loop, and closes them."""

    _asyncgens: weakref.WeakSet[AsyncGenerator[Any, Any]]
    _are_asyncgens_shut_down = False

    def _set_up_generators(self) -> None:
        self._asyncgens = weakref.WeakSet()

    async def shutdown_asyncgens(self) -> None:
        """Close every generator that has begun and not ended. Their errors go to the handler."""
        self._are_asyncgens_shut_down = True
        closing = list(self._asyncgens)
        self._asyncgens.clear()
        outcomes = await asyncio.gather(
            *[generator.aclose() for generator in closing], return_exceptions=True
        )
        for outcome, generator in zip(outcomes, closing, strict=True):
            if isinstance(outcome, Exception):
                self.call_exception_handler(
                    {
                        "message": "an error occurred during closing of asynchronous generator "
                        f"{generator!r}",
                        "exception": outcome,
                        "asyncgen": generator,
                    }
                )

    def _hook_generators(self) -> None:
        """Listen for generators in this thread."""
        sys.set_asyncgen_hooks(firstiter=self._generator_began, finalizer=self._generator_dropped)

    def _generator_began(self, generator: AsyncGenerator[Any, Any]) -> None:
        if self._are_asyncgens_shut_down:
            warnings.warn(
                f"asynchronous generator {generator!r} was scheduled after "
                "loop.shutdown_asyncgens() call, so nobody will close it. "
                "Start it earlier, or close it yourself with contextlib.aclosing.",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
        self._asyncgens.add(generator)

    def _generator_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        # The collector may run in any thread.
        self._asyncgens.discard(generator)
        if not self.is_closed():
            self.call_soon_threadsafe(self.create_task, generator.aclose())
