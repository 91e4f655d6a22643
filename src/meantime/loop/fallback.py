"""Where the compiled core is missing: asyncio's own loop, under our name.

That is so on platforms that the core was not built for, and on PyPy. Programs run as they do
without meantime, which is said once, when the first loop is made.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from typing import TYPE_CHECKING

from meantime.errors import BackendError, FallbackWarning

if TYPE_CHECKING:
    from collections.abc import Callable

if sys.platform == "win32":
    BaseLoop = asyncio.ProactorEventLoop
else:
    BaseLoop = asyncio.SelectorEventLoop


class FallbackLoop(BaseLoop):
    """asyncio's loop, with the arguments of `EventLoop`."""

    is_warned = False
    _backend = "asyncio"

    def __init__(self, *, backend: str | None = None, spin_s: float | None = None) -> None:
        super().__init__()
        if backend is not None or spin_s is not None:
            self.close()
            raise BackendError(
                "backend= and spin_s= are settings of the compiled core, which is missing here. "
                "Leave them out, or install meantime from a wheel for this platform."
            )
        if not FallbackLoop.is_warned:
            FallbackLoop.is_warned = True
            warnings.warn(
                "meantime's compiled core is missing, so programs run on asyncio's own loop. "
                "Install meantime from a wheel for this platform; on others, ignore this.",
                FallbackWarning,
                stacklevel=3,
            )


def give_reason(error: ImportError) -> Callable[[], str]:
    """Return a function that says what `meantime.backend()` says, running loops included."""
    FallbackLoop._backend = f"asyncio: the compiled core is missing ({error})"
    return lambda: FallbackLoop._backend
