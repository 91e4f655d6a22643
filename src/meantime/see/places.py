"""Whose code is it? Which file and line a frame stands at, and whether the user wrote it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from meantime.guard.places import is_own as is_own_file

if TYPE_CHECKING:
    from types import CodeType

OUR_FOLDER = str(Path(__file__).parents[1]) + os.sep
ASYNCIO_FOLDER = str(Path(os.__file__).parent / "asyncio") + os.sep


def is_own(code: CodeType) -> bool:
    """Return whether this is the user's own code: neither Python's, nor installed, nor meantime's.

    The code of `python -c` and of a notebook's cell is the user's.
    """
    return is_own_file(code.co_filename)


def is_runtime_file(file: str) -> bool:
    """Return whether the file belongs to asyncio or to meantime."""
    return file.startswith((ASYNCIO_FOLDER, OUR_FOLDER))
