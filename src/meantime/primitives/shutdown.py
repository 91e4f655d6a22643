"""The exception of a queue that was shut down."""

from __future__ import annotations

import asyncio
import sys

if sys.version_info >= (3, 13):
    QueueShutDown = asyncio.QueueShutDown
else:

    class QueueShutDown(Exception):  # noqa: N818  asyncio's name, from Python 3.13 on
        """Raised by `get` and `put` on a queue that was shut down."""
