"""The files that Unix sockets leave behind, and who may remove them."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

logger = logging.getLogger("asyncio")


def is_abstract(path: str | bytes) -> bool:
    """Tell whether the address lives in the kernel alone and has no file."""
    return path[:1] in ("", b"", "\0", b"\0")


def remove_stale_socket(path: str | bytes) -> None:
    """Remove the file of a Unix socket that stood here before, so that `path` can be bound.

    Other files stay. What cannot be looked at or removed is logged: binding may still work, and if
    not, its error says why.
    """
    if is_abstract(path):
        return
    place = Path(os.fsdecode(path))
    try:
        if stat.S_ISSOCK(place.stat().st_mode):
            place.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        logger.error("Unable to check or remove stale UNIX socket %r: %r", path, error)


class OwnPath:
    """The file that a listening socket made, known by its inode.

    Another process may have put its own socket in the same place since. That file is not ours.
    """

    def __init__(self, sock: socket.socket) -> None:
        path: str | bytes = sock.getsockname()
        self.path: Path | None = None
        self.inode = -1
        if is_abstract(path):
            return
        try:
            self.inode = Path(os.fsdecode(path)).stat().st_ino
        except FileNotFoundError:
            return
        self.path = Path(os.fsdecode(path))

    def remove(self) -> None:
        """Remove the file, if it is still the one that the socket made."""
        if self.path is None:
            return
        try:
            if self.path.stat().st_ino == self.inode:
                self.path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.error("Unable to clean up listening UNIX socket %r: %r", str(self.path), error)
