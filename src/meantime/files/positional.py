"""Reading and writing at a position of one's own, in a thread."""

from __future__ import annotations

import os
from typing import Any


def read_all_at(fd: int, size: int, offset: int) -> bytes:
    """Read until it is enough or the file ends. This is called in a thread."""
    data = os.pread(fd, size, offset)
    if not data or len(data) == size:
        return data
    parts = [data]
    read = len(data)
    while read < size:
        data = os.pread(fd, size - read, offset + read)
        if not data:
            break
        parts.append(data)
        read += len(data)
    return b"".join(parts)


def write_all_at(fd: int, data: Any, offset: int) -> int:
    """Write until all is written. This is called in a thread."""
    with memoryview(data) as view, view.cast("B") as source:
        written = 0
        while written < len(source):
            written += os.pwrite(fd, source[written:], offset + written)
        return written
