"""What happens to exceptions that nobody awaits: the loop's exception handlers."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

from meantime.loop.face import Face

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

# asyncio's logger: programs and their test suites listen there.
logger = logging.getLogger("asyncio")

# Keys whose values are stacks. What they are called in the log is known to log readers.
STACKS = {
    "source_traceback": "Object created at (most recent call last):\n",
    "handle_traceback": "Handle created at (most recent call last):\n",
}

# Keys whose values know the context variables that they ran with. The first one present counts.
CARRIERS = ("task", "future", "handle")


class Failures(Face):
    """Set, get and call the exception handler."""

    _exception_handler: Handler | None = None

    def get_exception_handler(self) -> Handler | None:
        """Return the handler that was set, or None while the default one is in use."""
        return self._exception_handler

    def set_exception_handler(self, handler: Handler | None) -> None:
        """Call handler(loop, context) for exceptions that nobody awaits; None is the default.

        Raises:
            TypeError: `handler` is neither callable nor None.
        """
        if handler is not None and not callable(handler):
            raise TypeError(
                f"A callable object or None is expected, got {handler!r}. "
                "Pass a function of (loop, context)."
            )
        self._exception_handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log the exception with everything that `context` says about it."""
        error = context.get("exception")
        lines = [context.get("message") or "Unhandled exception in event loop"]
        keys = sorted(context.keys() - {"message", "exception"})
        lines += [f"{key}: {describe(key, context[key])}" for key in keys]
        logger.error("\n".join(lines), exc_info=error if error is not None else False)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Hand an exception to the handler. Whatever the handler raises is logged.

        The keys of `context`: message, and where they apply exception, future, task, handle,
        protocol, transport, socket, source_traceback, handle_traceback, asyncgen.
        """
        if self._exception_handler is None:
            self._call_default_handler(context, "Exception in default exception handler")
            return
        try:
            self._call_set_handler(context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - a handler must not stop the loop
            self._call_default_handler(
                {
                    "message": "Unhandled error in exception handler",
                    "exception": error,
                    "context": context,
                },
                "Exception in default exception handler while handling an unexpected error in "
                "custom exception handler",
            )

    def _call_set_handler(self, context: dict[str, Any]) -> None:
        """Call the handler within the context variables of whatever failed."""
        assert self._exception_handler is not None
        failed = [context[key] for key in CARRIERS if context.get(key) is not None]
        get_context = getattr(failed[0], "get_context", None) if failed else None
        variables = get_context() if get_context is not None else None
        if variables is not None and hasattr(variables, "run"):
            variables.run(self._exception_handler, self, context)
        else:
            self._exception_handler(self, context)

    def _call_default_handler(self, context: dict[str, Any], if_that_fails: str) -> None:
        # A subclass may have its own default handler, with bugs of its own.
        try:
            self.default_exception_handler(context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            logger.error(if_that_fails, exc_info=True)


def describe(key: str, value: Any) -> str:
    """Return a value of a context for the log."""
    if key in STACKS:
        return STACKS[key] + "".join(traceback.format_list(value)).rstrip()
    return repr(value)
