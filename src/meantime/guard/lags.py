"""How late loops were: how long something that is due has to wait for the step that runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# As the core's watchdog counts: by powers of two of microseconds, and the first for none.
BUCKETS = 24


@dataclass
class Lags:
    """How often loops were how late, one count for each power of two of microseconds."""

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def add(self, lag_s: float) -> None:
        """Count one."""
        microseconds = max(1, int(lag_s * 1e6))
        self.counts[min(microseconds.bit_length(), BUCKETS - 1)] += 1

    def since(self, before: Lags) -> Lags:
        """Return what was counted after `before` was all."""
        return Lags([now - then for now, then in zip(self.counts, before.counts, strict=True)])

    def with_more(self, more: Lags) -> Lags:
        """Return both together."""
        return Lags([one + other for one, other in zip(self.counts, more.counts, strict=True)])

    def histogram(self) -> list[tuple[float, int]]:
        """Return pairs of seconds and a count: see guard.lag_histogram."""
        return [
            ((1 << index) * 1e-6 if index else 0.0, count)
            for index, count in enumerate(self.counts)
        ]


def below(histogram: Sequence[tuple[float, int]], part: float) -> float:
    """Return below how many seconds that part of all counts is, as near as they tell it."""
    total, seen = sum(count for _, count in histogram), 0
    for lag_s, count in histogram:
        seen += count
        if seen and seen >= part * total:
            return lag_s
    return 0.0
