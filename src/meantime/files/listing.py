"""What is in folders, a batch per hop: lazily, so that the first entries come at once."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from meantime.files.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

Entry = TypeVar("Entry")

# A batch ends with whichever comes first: a hop costs some 50 µs, and nobody likes to wait.
BATCH_ENTRIES = 500
BATCH_S = 0.01


async def in_batches(
    start: Callable[[], Iterable[Entry]], entries_max: int = BATCH_ENTRIES
) -> AsyncGenerator[Entry, None]:
    """Yield what an iterable that blocks gives. Each batch is one hop to a thread.

    However the iteration ends, the iterable is closed.
    """
    batches = Batches(start, entries_max)
    try:
        is_over = False
        while not is_over:
            batch, is_over, error = await in_thread(batches.take)
            for entry in batch:
                yield entry
            if error is not None:
                raise error
    finally:
        batches.close()


class Batches:
    """An iterable that is used in threads, one at a time, and closed at the end."""

    def __init__(self, start: Callable[[], Iterable[Any]], entries_max: int) -> None:
        self.start = start
        self.entries_max = entries_max
        self.iterator: Iterator[Any] | None = None
        self.lock = threading.Lock()
        self.is_closed = False

    def take(self) -> tuple[list[Any], bool, Exception | None]:
        """Return the next entries, whether they are the last, and the error that ended them."""
        with self.lock:
            batch: list[Any] = []
            try:
                return batch, self.fill(batch), None
            except Exception as error:  # noqa: BLE001 - it is raised once the entries are given
                return batch, True, error
            finally:
                if self.is_closed:
                    self.close_iterator()

    def fill(self, batch: list[Any]) -> bool:
        """Add entries to a batch. Returns whether they are the last ones."""
        give_up_at = time.monotonic() + BATCH_S
        if self.iterator is None:
            self.iterator = iter(self.start())
        for entry in self.iterator:
            batch.append(entry)
            if len(batch) >= self.entries_max or time.monotonic() > give_up_at:
                return False
        return True

    def close(self) -> None:
        """Close the iterable: now, or when the thread that is in it is done."""
        self.is_closed = True
        if self.lock.acquire(blocking=False):
            try:
                self.close_iterator()
            finally:
                self.lock.release()

    def close_iterator(self) -> None:
        """Close the iterable, if it is one that can be closed."""
        close = getattr(self.iterator, "close", None)
        if close is not None:
            close()
