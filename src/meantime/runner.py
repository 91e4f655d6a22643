"""Running programs on meantime's loop: run and Runner; install for those that import asyncio.

`install` puts meantime's gather, Queue, streams and so on in the place of asyncio's. And it changes
what `asyncio.new_event_loop()` returns, and with it asyncio.run, asyncio.Runner
and IsolatedAsyncioTestCase, which all ask it. Up to Python 3.13 that is the job of an event loop
policy. From 3.14 on policies are deprecated, so there the function itself is replaced.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import events
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from meantime.loop import EventLoop
from meantime.primitives.swap import PrimitivesSwap

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Result = TypeVar("Result")

HAS_POLICIES = sys.version_info < (3, 14)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop, not yet running. Fits wherever a loop factory is asked for.

    Raises:
        ValueError: MEANTIME_BACKEND or MEANTIME_SPIN_US has a value that means nothing.
        BackendError: MEANTIME_BACKEND asks for a backend that this machine refuses.
    """
    return EventLoop()


class Runner(asyncio.Runner):  # type: ignore[misc]  # final for typeshed; it can be subclassed
    """asyncio.Runner, whose loop is meantime's unless another factory is given."""

    def __init__(
        self,
        *,
        debug: bool | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        super().__init__(debug=debug, loop_factory=loop_factory or new_event_loop)


def run(
    main: Coroutine[Any, Any, Result],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Result:
    """Run a coroutine in a new event loop, close the loop, and return the result.

    Ctrl-C cancels the coroutine and raises KeyboardInterrupt when it has ended.

    Raises:
        ValueError: `main` is not a coroutine.
        RuntimeError: this thread runs a loop already.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "asyncio.run() cannot be called from a running event loop: this thread has one "
            "already. Await the coroutine there, or run it in another thread."
        )
    with Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)


class FunctionSwap:
    """Replaces asyncio.new_event_loop itself."""

    def __init__(self) -> None:
        self.before = events.new_event_loop

    def begin(self) -> None:
        """Make asyncio's function ours."""
        asyncio.new_event_loop = events.new_event_loop = new_event_loop

    def end(self) -> None:
        """Put back what was there, unless somebody else has replaced ours since."""
        if events.new_event_loop is new_event_loop:
            events.new_event_loop = self.before
        if asyncio.new_event_loop is new_event_loop:
            asyncio.new_event_loop = self.before


if HAS_POLICIES:

    class Policy(asyncio.DefaultEventLoopPolicy):
        """The default policy, except for which loops it makes."""

        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            """Return a new loop of meantime's."""
            return new_event_loop()

    class PolicySwap:
        """Replaces the event loop policy."""

        def __init__(self) -> None:
            self.before = asyncio.get_event_loop_policy()
            self.ours = Policy()

        def begin(self) -> None:
            """Make the policy ours, and keep the loop that this thread has set."""
            # A kernel of Jupyter, for one, makes its loop before it runs a user's startup file. It
            # would go on with another one if get_event_loop() no longer returned the first.
            current = getattr(getattr(self.before, "_local", None), "_loop", None)
            if current is not None:
                self.ours.set_event_loop(current)
            asyncio.set_event_loop_policy(self.ours)

        def end(self) -> None:
            """Put back what was there, unless somebody else has replaced ours since."""
            if asyncio.get_event_loop_policy() is self.ours:
                asyncio.set_event_loop_policy(self.before)


class Installation:
    """Whether install() is in force, and how to undo it."""

    swaps: ClassVar[list[Any]] = []


def install() -> None:
    """Let asyncio make meantime's loops and hand out its primitives, until uninstall().

    This concerns the whole process. Installing again changes nothing: one uninstall() undoes it.
    Loops, queues and the like that exist already stay what they are, and so does what a module took
    out of asyncio before (`from asyncio import gather`, a subclass of `asyncio.Queue`): install
    first, import then. From Python 3.14 on, code that asks an event loop policy for a loop is not
    reached.
    """
    if not Installation.swaps:
        Installation.swaps = [PolicySwap() if HAS_POLICIES else FunctionSwap(), PrimitivesSwap()]
        for swap in Installation.swaps:
            swap.begin()


def uninstall() -> None:
    """Undo install(). Where nothing is installed, this does nothing.

    What another library has set since install() stays: it is not ours to undo.
    """
    swaps, Installation.swaps = Installation.swaps, []
    for swap in reversed(swaps):
        swap.end()
