"""Which poller a loop waits with, and why it is that one.

The order of choice: the argument of the loop, then MEANTIME_BACKEND, then io_uring, then epoll.
Containers often refuse io_uring. That is no mistake of the user's, so the loop goes to epoll
without a word and keeps the reason for `meantime.backend()`. Who asked for io_uring by name gets
an error instead: a silent change would make their measurements lies.
"""

from __future__ import annotations

import errno
import math
import os
import sys
from pathlib import Path

from meantime._core.poller.epoll import EpollPoller
from meantime._core.poller.uring import UringPoller
from meantime.errors import BackendError
from meantime.loop.names import NAMES

SPIN_US_MAX = 1_000_000
SYSCTL = Path("/proc/sys/kernel/io_uring_disabled")

# What the kernel's answer means where io_uring is concerned. EPERM has two causes, see why_refused.
MEANINGS = {
    errno.EACCES: "a security module forbids it",
    errno.EINVAL: "this kernel's io_uring is too old",
    errno.EMFILE: "this process has no file descriptor left",
    errno.ENFILE: "this machine has no file descriptor left",
    errno.ENOMEM: "there is too little memory, or RLIMIT_MEMLOCK is too low",
    errno.ENOSYS: "this kernel has no io_uring, or a container's seccomp profile hides it",
}


def open_poller(asked: str | None) -> tuple[UringPoller | EpollPoller, str]:
    """Return a new poller, and its name with the reason: "io_uring", "epoll", "epoll: why".

    Raises:
        ValueError: `asked` or MEANTIME_BACKEND names no backend.
        BackendError: the backend was asked for by name, and this machine refuses it; or this
            Python runs without its global interpreter lock.
    """
    check_lock()
    wanted = wanted_backend(asked)
    if wanted == "epoll":
        return open_epoll(), "epoll"
    try:
        return UringPoller(), "io_uring"
    except OSError as error:
        reason = f"io_uring_setup was refused ({why_refused(error)})"
        if wanted == "io_uring":
            raise BackendError(
                f"{reason[0].upper()}{reason[1:]}, and io_uring was asked for by name. "
                "Leave out backend= and MEANTIME_BACKEND and meantime chooses, or ask for 'epoll'."
            ) from error
    return open_epoll(), f"epoll: {reason}"


def check_lock() -> None:
    """Refuse to work without the global interpreter lock, which the core relies on.

    A free-threaded Python takes the lock into use when the core is imported, unless it was told not
    to. Then call_soon_threadsafe and the loop could free one object twice.

    Raises:
        BackendError: there is no lock.
    """
    is_locked = getattr(sys, "_is_gil_enabled", None)
    if is_locked is not None and not is_locked():
        raise BackendError(
            "this Python was told to run without its global interpreter lock (PYTHON_GIL=0 or "
            "-X gil=0), and meantime's core is not safe without it yet. Leave the setting out: "
            "then the lock is in use from the import of meantime on."
        )


def name_of_choice() -> str:
    """Return the name, with the reason, of the poller that a new loop gets.

    Raises:
        ValueError, BackendError: as open_poller does.
    """
    poller, name = open_poller(None)
    poller.close()
    return name


def open_epoll() -> EpollPoller:
    """Return a new poller on epoll.

    Raises:
        BackendError: the kernel refuses even that, which leaves nothing to wait with.
    """
    try:
        return EpollPoller()
    except OSError as error:
        raise BackendError(
            f"epoll_create was refused ({why_refused(error)}), so there is nothing to wait with. "
            "Close what this process does not need, or raise its limit with 'ulimit -n'."
        ) from error


def wanted_backend(asked: str | None) -> str | None:
    """Return the name that was asked for by argument or environment, or None for "choose".

    Raises:
        ValueError: the name is of no backend.
    """
    source = "backend" if asked is not None else "MEANTIME_BACKEND"
    name = asked if asked is not None else os.environ.get("MEANTIME_BACKEND") or None
    if name is not None and name not in NAMES:
        raise ValueError(
            f"{source} is {name!r}, and there is no such backend. "
            "Use 'io_uring' or 'epoll', or leave it out and meantime chooses."
        )
    return name


def wanted_spin_s(asked: float | None) -> float:
    """Return how long a loop may poll before it sleeps, in seconds. 0 switches that off.

    Raises:
        ValueError: the argument or MEANTIME_SPIN_US is no number from 0 to a second.
    """
    text = os.environ.get("MEANTIME_SPIN_US") or "0"
    try:
        spin_us = asked * 1e6 if asked is not None else float(text)
    except ValueError:
        spin_us = math.nan
    if 0 <= spin_us <= SPIN_US_MAX:
        return spin_us / 1e6
    if asked is not None:
        raise ValueError(
            f"spin_s is {asked!r}, and a loop cannot spin that long. "
            "Use seconds from 0 to 1, such as 0.00005, or leave it out."
        )
    raise ValueError(
        f"MEANTIME_SPIN_US is {text!r}, and a loop cannot spin that long. "
        f"Use microseconds from 0 to {SPIN_US_MAX}, such as 50, or unset it."
    )


def why_refused(error: OSError) -> str:
    """Return the name of the error and what it means, such as "EPERM: seccomp forbids it"."""
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    if error.errno == errno.EPERM:
        return f"{name}: {why_forbidden()}"
    meaning = MEANINGS.get(error.errno or 0, error.strerror or "no reason was given")
    return f"{name}: {meaning}"


def why_forbidden() -> str:
    """Return which of the two switches that answer EPERM it was, as far as one can see."""
    try:
        switch = SYSCTL.read_text(encoding="ascii").strip()
    except OSError:
        return "a container's seccomp profile or sysctl kernel.io_uring_disabled forbids it"
    if switch in {"1", "2"}:
        return f"sysctl kernel.io_uring_disabled is {switch}"
    return "a container's seccomp profile forbids it"
