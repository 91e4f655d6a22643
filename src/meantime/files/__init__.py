"""Files that do not block the loop: open, read, write, list, copy, move and remove them.

`open_file` has the arguments of `open`, `Path` the methods of pathlib's. The names of aiofiles are
here as well, so that a program may say `from meantime import files as aiofiles`. All of it works on
any event loop.
"""

from __future__ import annotations

import meantime.loop  # noqa: F401 - first, because it says why where the core cannot be used
from meantime.files import os, ospath, tempfile
from meantime.files.file import AsyncFile, open_file, wrap_file
from meantime.files.paths import Path
from meantime.files.standard import (
    stderr,
    stderr_bytes,
    stdin,
    stdin_bytes,
    stdout,
    stdout_bytes,
)
from meantime.files.tempfile import (
    NamedTemporaryFile,
    SpooledTemporaryFile,
    TemporaryDirectory,
    TemporaryFile,
    gettempdir,
    mkdtemp,
    mkstemp,
)
from meantime.files.whole import (
    copy,
    copytree,
    move,
    read_bytes,
    read_text,
    rmtree,
    write_atomic,
    write_bytes,
    write_text,
)

# aiofiles' name for it.
open = open_file  # noqa: A001

__all__ = [
    "AsyncFile",
    "NamedTemporaryFile",
    "Path",
    "SpooledTemporaryFile",
    "TemporaryDirectory",
    "TemporaryFile",
    "copy",
    "copytree",
    "gettempdir",
    "mkdtemp",
    "mkstemp",
    "move",
    "open",
    "open_file",
    "os",
    "ospath",
    "read_bytes",
    "read_text",
    "rmtree",
    "stderr",
    "stderr_bytes",
    "stdin",
    "stdin_bytes",
    "stdout",
    "stdout_bytes",
    "tempfile",
    "wrap_file",
    "write_atomic",
    "write_bytes",
    "write_text",
]
