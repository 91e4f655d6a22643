"""The end of a child process, told in the loop.

A pidfd becomes readable when its process ends, whoever handles SIGCHLD. Where the kernel or a
sandbox has none, a thread waits for each child. Either way the exit status is read in the loop's
thread, so that a process id which is still in use there cannot have been given to another process.
"""

from __future__ import annotations

import itertools
import os
import threading
from typing import TYPE_CHECKING

from meantime.loop.child import NO_DESCRIPTOR, Child, collect, logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from meantime.loop.child import BytesPopen
    from meantime.loop.face import Face

thread_numbers = itertools.count()


class ExitWatch:
    """Calls `ended(exit code)` in the loop, once, when the child has ended."""

    def __init__(self, loop: Face, child: BytesPopen, ended: Callable[[int], None]) -> None:
        self.loop = loop
        self.child = child
        self.ended = ended
        self.pidfd = child.pidfd if isinstance(child, Child) else NO_DESCRIPTOR
        if self.pidfd != NO_DESCRIPTOR:
            try:
                loop.add_reader(self.pidfd, self.look)
            except OSError:
                self.pidfd = NO_DESCRIPTOR  # a sandbox may have pidfds that cannot be watched
        if self.pidfd == NO_DESCRIPTOR:
            name = f"asyncio-waitpid-{next(thread_numbers)}"
            threading.Thread(target=self.wait_in_thread, name=name, daemon=True).start()

    def look(self) -> None:
        """Read the exit status and tell of it, if the child has ended."""
        code = collect(self.child)
        if code is None:
            return
        if self.pidfd != NO_DESCRIPTOR:
            self.loop.remove_reader(self.pidfd)
        if isinstance(self.child, Child):
            self.child.close_pidfd()
        self.ended(code)

    def wait_in_thread(self) -> None:
        """Wait for the end, without reading the exit status, and have the loop look."""
        try:
            os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pass  # somebody else has read it
        try:
            self.loop.call_soon_threadsafe(self.look)
        except RuntimeError:
            # Nobody else would read it now, and the child would stay a zombie.
            self.child.poll()
            logger.warning("Loop %r that handles pid %r is closed", self.loop, self.child.pid)
