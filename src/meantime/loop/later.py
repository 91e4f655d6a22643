"""What asyncio's loops can do and this one cannot yet. Each says what to do instead."""

from __future__ import annotations

from typing import Any, NoReturn

from meantime.loop.face import Face


class NotYet(Face):
    """The methods that come with the next release."""

    async def subprocess_exec(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Not there yet."""
        refuse("start subprocesses", "asyncio.to_thread(subprocess.run, ...)")

    async def subprocess_shell(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Not there yet."""
        refuse("start subprocesses", "asyncio.to_thread(subprocess.run, ...)")


def refuse(what: str, instead: str) -> NoReturn:
    """Raise the error of a method that is not there yet."""
    raise NotImplementedError(
        f"meantime's loop cannot {what} yet; that comes with its next release. "
        f"Use {instead}, or run this program on asyncio's own loop."
    )
