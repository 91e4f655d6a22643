"""The end of a file: what is buffered goes to the disk, and the descriptor is closed."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from meantime.files.advice import advise

if TYPE_CHECKING:
    from collections.abc import Callable


class Closing:
    """The way to a closed file. It goes on whether or not somebody waits for its end."""

    def __init__(self, calls: Any) -> None:
        self.calls = calls
        self.loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self.loop.create_future()

    def begin(self) -> asyncio.Future[None]:
        """Get in line. Returns the future of the end."""
        turns = self.calls._turns
        if turns.busy:
            turns.ask().add_done_callback(self.wait_for_positional)
        else:
            turns.busy = True
            self.wait_for_positional()
        return self.closed

    def wait_for_positional(self, _turn: object = None) -> None:
        """Go on when nobody uses the descriptor any more, whose number may be given out again."""
        calls = self.calls
        if calls._positional:
            calls._last_positional = self.loop.create_future()
            calls._last_positional.add_done_callback(self.close)
        else:
            self.close()

    def close(self, _last: object = None) -> None:
        """Close the file, in a thread."""
        try:
            job = self.loop.run_in_executor(None, self.calls._wrapped.close)
        except RuntimeError as error:
            self.end(error)  # the loop has no threads any more
        else:
            job.add_done_callback(self.note)

    def note(self, job: asyncio.Future[None]) -> None:
        """Pass on how it went."""
        self.end(None if job.cancelled() else job.exception())

    def end(self, error: BaseException | None) -> None:
        """Let the next one in line have a turn: it is told that the file is closed."""
        self.calls._closing = None
        self.calls._turns.give()
        if self.closed.cancelled():
            return
        if error is None:
            self.closed.set_result(None)
        else:
            advise(error)
            self.closed.set_exception(error)


def may_close_now(file: Any) -> bool:
    """Return whether closing a regular file cannot wait for a disk.

    It may where something was written, and where the file has no name any more: then its bytes are
    given back, which takes long for a large one.
    """
    return not file.writable() and os.fstat(file.fileno()).st_nlink > 0


def flush_and_sync(file: Any, sync: Callable[[int], None]) -> None:
    """Bring to the disk what is buffered. This is called in a thread."""
    file.flush()
    sync(file.fileno())


SYNC: Callable[[int], None] = os.fsync
SYNC_DATA: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
