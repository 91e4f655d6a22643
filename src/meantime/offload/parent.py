"""The nursery, seen from the program: starting it, and giving it orders."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import time
from pathlib import Path

from . import packets

LEAVE_WAIT_S = 1.0

# A package of another name, made of the files in this folder: see nursery.py.
BOOTSTRAP = """
import sys
package = type(sys)("_meantime_offload")
package.__path__ = [sys.argv[1]]
sys.modules["_meantime_offload"] = package
from _meantime_offload.nursery import main
main(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
"""


class Parent:
    """The process that starts workers and ends them."""

    def __init__(self, lifeline_fd: int, idle_s: float) -> None:
        """Start it. It takes orders at once, and follows them when it can.

        Raises:
            OSError: no process, descriptor or memory is left.
        """
        self.numbers = itertools.count()
        self.sock, theirs = packets.socket_pair()
        with theirs:
            fds = (theirs.fileno(), lifeline_fd)
            try:
                self.process = subprocess.Popen(
                    [
                        *(sys.executable, *subprocess._args_from_interpreter_flags()),  # type: ignore[attr-defined]
                        *("-c", BOOTSTRAP, str(Path(__file__).parent), *map(str, fds), str(idle_s)),
                    ],
                    stdin=subprocess.DEVNULL,
                    pass_fds=fds,
                    # Ctrl-C is for the program, which then ends its jobs.
                    process_group=0,
                )
            except BaseException:
                self.sock.close()
                raise

    def next_name(self) -> bytes:
        """Return a name for a worker."""
        return str(next(self.numbers)).encode()

    def order(self, kind: bytes, name: bytes = b"", *fds: int) -> None:
        """Give an order about a worker.

        Raises:
            OSError: it is not there any more.
        """
        packets.send(self.sock, kind, name, *fds)

    def is_there(self) -> bool:
        """Tell whether it takes orders."""
        return self.process.poll() is None

    async def has_left(self) -> bool:
        """Tell whether it ended because nobody had an order for it."""
        give_up_at = time.monotonic() + LEAVE_WAIT_S
        while self.is_there() and time.monotonic() < give_up_at:
            await asyncio.sleep(0.002)
        return self.process.returncode == 0

    def end(self, wait_s: float) -> None:
        """Have it wait for its workers, and end."""
        try:
            self.order(packets.QUIT)
        except OSError:
            pass  # it has ended by itself
        self.sock.close()
        try:
            self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def forget(self) -> None:
        """After a fork, in the child: it is not ours."""
        self.sock.close()
        self.process.returncode = 0
