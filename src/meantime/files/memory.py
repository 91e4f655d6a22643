"""What can be had without waiting for a disk: all that is in memory, or nothing at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from _typeshed import StrOrBytesPath

try:
    from meantime.files.cached import (
        WouldWaitForDisk,  # pyright: ignore[reportAssignmentType]
        open_now,
        read_whole_now,
        stand_in,
    )
    from meantime.files.turns import is_time_to_give_way
except ImportError as error:
    # Where the compiled core is missing, everything goes to a thread.
    if not (error.name or "").startswith(("meantime._core", "meantime.files")):
        raise

    class WouldWaitForDisk(BaseException):  # type: ignore[no-redef]
        """What was asked for is not in memory."""

    def open_now(path: StrOrBytesPath, flags: int) -> int:  # noqa: ARG001
        """Say that it would have to wait."""
        raise WouldWaitForDisk

    def read_whole_now(path: StrOrBytesPath | int) -> bytes | asyncio.Future[bytes] | None:  # noqa: ARG001
        """Return None: it would have to wait."""
        return None

    def is_time_to_give_way() -> bool:
        """Return False: a thread gives way by itself."""
        return False

    def stand_in(plain: Any, buffer_bytes: int) -> Any:  # type: ignore[misc]  # noqa: ARG001
        """Return the file itself."""
        return plain


__all__ = ["WouldWaitForDisk", "is_time_to_give_way", "open_now", "read_whole_now", "stand_in"]
