"""Child processes: subprocess.Popen, whose start is ours where the options allow it.

Popen starts children in C too, with vfork where it can. It then waits on a pipe for the child's
errors, and knows the child by its number only. Our own start (`_core.spawn`) needs no such pipe and
gives a pidfd at once.

Everything that Popen decides before it starts a child (arguments, pipes, text modes, users and
groups by name) stays its own. So does the start itself when something must run in the child that
may not run in borrowed memory: preexec_fn, and changes of user, groups or umask.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from meantime._core.spawn import (
    CHANGING_DIRECTORY,
    EXECUTING,
    has_close_range,
    open_pidfd,
    reap,
    signal_pidfd,
    spawn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    # Popen is generic only to type checkers.
    BytesPopen = subprocess.Popen[bytes]
else:
    BytesPopen = subprocess.Popen

logger = logging.getLogger("asyncio")

NO_DESCRIPTOR = -1
DESCRIPTOR_MAX = 2**31 - 1

# What a child is said to have returned when somebody else has read its exit status. As asyncio.
UNKNOWN_EXIT_CODE = 255


class Start(NamedTuple):
    """What Popen has made of its arguments when it comes to starting the child, in its order."""

    args: Any
    executable: Any
    preexec_fn: Callable[[], object] | None
    close_fds: bool
    pass_fds: Collection[int]
    cwd: Any
    env: Mapping[Any, Any] | None
    startupinfo: None
    creationflags: int
    shell: bool
    # Each pipe's end for the child and ours; -1 where there is no pipe or nothing is redirected.
    p2cread: int
    p2cwrite: int
    c2pread: int
    c2pwrite: int
    errread: int
    errwrite: int
    restore_signals: bool
    gid: int | None
    gids: list[int] | None
    uid: int | None
    umask: int
    start_new_session: bool
    process_group: Any


# The method of Popen that is replaced is private. Where a new Python gives it other arguments, it
# starts all children itself.
POPENS_OWN = inspect.signature(subprocess.Popen._execute_child)  # type: ignore[attr-defined]
POPEN_IS_KNOWN = tuple(POPENS_OWN.parameters)[1:] == Start._fields


class Child(BytesPopen):
    """A subprocess.Popen that starts faster, and knows its child by a pidfd where it can."""

    # Popen.__del__ runs also when __init__ failed.
    pidfd = NO_DESCRIPTOR

    def _execute_child(self, *given: Any) -> None:
        if POPEN_IS_KNOWN and is_plain(start := Start(*given)):
            self._spawn(start)
            return
        super()._execute_child(*given)  # type: ignore[misc]
        try:
            self.pidfd = open_pidfd(self.pid)
        except OSError:
            pass  # a thread will wait for it

    def _spawn(self, start: Start) -> None:
        arguments = listed_arguments(start)
        executable = arguments[0] if start.executable is None else start.executable
        sys.audit("subprocess.Popen", executable, arguments, start.cwd, start.env)
        words = [os.fsencode(argument) for argument in arguments]
        pid, pidfd, error, step = spawn(
            candidates_for(executable, start.env),
            words,
            None if start.env is None else environment_lines(start.env),
            None if start.cwd is None else os.fsencode(start.cwd),
            (start.p2cread, start.c2pwrite, start.errwrite),
            kept_descriptors(start.pass_fds),
            bool(start.close_fds),
            bool(start.restore_signals),
            bool(start.start_new_session),
            start.process_group,
        )
        if error:
            raise start_error(error, step, executable, start.cwd)
        self.pid = pid
        self.pidfd = pidfd
        self._child_created = True
        self._close_child_ends(start)

    def _close_child_ends(self, start: Start) -> None:
        devnull = getattr(self, "_devnull", None)
        for theirs, ours in (
            (start.p2cread, start.p2cwrite),
            (start.c2pwrite, start.c2pread),
            (start.errwrite, start.errread),
        ):
            if NO_DESCRIPTOR not in (theirs, ours) and theirs != devnull:
                os.close(theirs)
        if devnull is not None:
            os.close(devnull)
        self._closed_child_pipe_fds = True

    def send_signal(self, sig: int) -> None:
        """Send a signal to the child, and never to another process. Nothing if it has ended."""
        if self.returncode is not None:
            return
        if self.pidfd != NO_DESCRIPTOR:
            try:
                signal_pidfd(self.pidfd, sig)
            except ProcessLookupError:
                return  # somebody else has read its exit status
            except OSError:
                pass  # a sandbox may refuse this call and allow kill(); if not, that one says why
            else:
                return
        # Only while its exit status is unread is the child's number surely its own.
        if collect(self) is None:
            os.kill(self.pid, sig)

    def close_pidfd(self, close: Callable[[int], None] = os.close) -> None:
        """Let go of the pidfd. The child lives on; it is only known by its number then."""
        pidfd, self.pidfd = self.pidfd, NO_DESCRIPTOR
        if pidfd != NO_DESCRIPTOR:
            close(pidfd)

    def __del__(self) -> None:
        self.close_pidfd()
        super().__del__()


# As they were before any program replaced them, see start_child.
POPEN = subprocess.Popen


def start_child(args: Any, **options: Any) -> BytesPopen:
    """Start a child as subprocess.Popen(args, **options) does, and raise what it raises.

    A program may have put its own class in Popen's place, as test suites do: that one is used.
    """
    start = Child if subprocess.Popen is POPEN else subprocess.Popen
    return start(args, **options)


def collect(child: BytesPopen) -> int | None:
    """Return the exit code of a child, negative for a signal, or None while it runs.

    When somebody else has read it, by waitpid(-1) or by ignoring SIGCHLD, it is 255 and a warning
    says so.
    """
    # Popen's methods hold it while they read the status, perhaps in another thread.
    lock = getattr(child, "_waitpid_lock", None) or contextlib.nullcontext()
    with lock:
        if child.returncode is not None:
            return child.returncode
        try:
            child.returncode = reap(child.pid, getattr(child, "pidfd", NO_DESCRIPTOR))
        except ChildProcessError:
            child.returncode = UNKNOWN_EXIT_CODE
        else:
            return child.returncode
    logger.warning(
        "child process pid %d exit status already read:  will report returncode 255", child.pid
    )
    return UNKNOWN_EXIT_CODE


def is_plain(start: Start) -> bool:
    """Tell whether nothing is asked for that only Popen's own start can do."""
    return (
        start.preexec_fn is None
        and start.gid is None
        and start.gids is None
        and start.uid is None
        and start.umask < 0
        and isinstance(start.process_group, int)
        # The documented way to forbid vfork.
        and getattr(subprocess, "_USE_VFORK", True)
        and has_close_range()
    )


def listed_arguments(start: Start) -> list[Any]:
    """Return the program's arguments, its own name first.

    Raises:
        TypeError: a path-like object is to be run by the shell.
    """
    args = start.args
    arguments: list[Any]
    if isinstance(args, (str, bytes)):
        arguments = [args]
    elif isinstance(args, os.PathLike):
        if start.shell:
            raise TypeError("path-like args is not allowed when shell is true")
        arguments = [args]
    else:
        arguments = list(args)
    if start.shell:
        arguments = [start.executable or "/bin/sh", "-c", *arguments]
    return arguments


def candidates_for(executable: Any, env: Mapping[Any, Any] | None) -> list[bytes]:
    """Return the paths to try: itself if it has a slash, else one in each folder of PATH."""
    name = os.fsencode(executable)
    if b"/" in name:
        return [name]
    # Popen asks os.get_exec_path in both cases. That one changes the filters of warnings meanwhile,
    # which needs time; os.environ cannot have the two spellings of PATH that it looks for.
    folders = (
        os.environ.get("PATH", os.defpath).split(os.pathsep)
        if env is None
        else os.get_exec_path(env)
    )
    # pathlib would lose the dot of "./", and an empty folder, which means the current one.
    return [os.path.join(os.fsencode(folder), name) for folder in folders]  # noqa: PTH118


def environment_lines(env: Mapping[Any, Any]) -> list[bytes]:
    """Return the environment as the kernel takes it.

    Raises:
        ValueError: a name contains "=".
    """
    lines = []
    for name, value in env.items():
        encoded = os.fsencode(name)
        if b"=" in encoded:
            raise ValueError("illegal environment variable name")
        lines.append(encoded + b"=" + os.fsencode(value))
    return lines


def kept_descriptors(pass_fds: Collection[int]) -> tuple[int, ...]:
    """Return the descriptors to pass on, ascending.

    Raises:
        ValueError: one of them cannot be a descriptor.
    """
    kept = tuple(sorted({int(fd) for fd in pass_fds}))
    if kept and not 0 <= kept[0] <= kept[-1] <= DESCRIPTOR_MAX:
        raise ValueError("bad value(s) in fds_to_keep")
    return kept


def start_error(error: int, step: int, executable: Any, cwd: Any) -> OSError:
    """Return the error that Popen raises, which names the file it is about if there is one."""
    message = os.strerror(error)
    if step == EXECUTING:
        return OSError(error, message, executable)
    if step == CHANGING_DIRECTORY:
        return OSError(error, message, cwd)
    return OSError(error, message)
