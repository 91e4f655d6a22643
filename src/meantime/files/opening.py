"""Opening a file, and putting below its buffer what asks the page cache first."""

from __future__ import annotations

import io
import os
import stat
from typing import IO, TYPE_CHECKING, Any

from meantime.files import memory
from meantime.files.advice import advise

if TYPE_CHECKING:
    from collections.abc import Callable

# Of a file that is only written: each time it is full, a hop to a thread is paid. The memory is
# touched as it is used, so a small file needs little of it.
WRITE_BUFFER_BYTES = 256 * 1024


def open_for_us(
    file: Any,
    mode: str,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
    closefd: bool,
    opener: Callable[[str, int], int] | None,
) -> IO[Any]:
    """Open a file as `open` does, for an AsyncFile."""
    opened: Any = open(  # noqa: SIM115 - the AsyncFile is what closes it
        file, mode, buffering, encoding, errors, newline, closefd, opener
    )
    try:
        return above_cache(opened, buffering, newline)
    except BaseException:
        opened.close()
        raise


def open_now(
    file: Any,
    mode: str,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
    closefd: bool,
    opener: Callable[[str, int], int] | None,
) -> IO[Any] | None:
    """Open a file if that needs no waiting; else return None. Wrong arguments are told at once."""
    if opener is not None or isinstance(file, int):
        return None
    try:
        # Whatever makes or cuts a file is refused there.
        return open_for_us(
            file, mode, buffering, encoding, errors, newline, closefd, memory.open_now
        )
    except memory.WouldWaitForDisk:
        return None
    except BaseException as error:
        advise(error)
        raise


def above_cache(opened: Any, buffering: int, newline: str | None) -> IO[Any]:
    """Return a file like `opened` above a CachedFile, or `opened` if it is of another kind."""
    mode = opened.mode
    is_text = type(opened) is io.TextIOWrapper
    binary: Any = opened.buffer if is_text else opened
    if type(binary) not in (io.BufferedReader, io.BufferedWriter, io.BufferedRandom):
        return opened
    if type(binary.raw) is not io.FileIO or not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        return opened
    if "+" in mode and (is_text or "a" in mode):
        # Taking a call back means to ask for the position, which here is not without effects: it
        # has the encoder begin, or is not where the next byte is written.
        return opened
    # The buffer's own size, which no attribute tells.
    size = binary.__sizeof__() - type(binary).__basicsize__
    if buffering < 0 and type(binary) is io.BufferedWriter:
        size = max(size, WRITE_BUFFER_BYTES)
    options = None
    if is_text:
        options = (
            opened.encoding, opened.errors, newline, opened.line_buffering, opened.write_through,
        )  # fmt: skip
        opened.detach()
    made: Any = type(binary)(memory.stand_in(binary.detach(), size), size)
    if options is not None:
        made = io.TextIOWrapper(made, *options)
        made.mode = mode
    return made


def close_plainly(file: IO[Any]) -> None:
    """Close a file that nobody took. This is called in a thread."""
    file.close()
