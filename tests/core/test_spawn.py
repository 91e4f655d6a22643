"""The start of a program in C: descriptors, signals, and sandboxes that refuse the newer calls."""

import os
import platform
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from meantime._core import spawn

# The numbers that the filter compares with.
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
PIDFD_OPEN, CLOSE_RANGE, PIDFD_SEND_SIGNAL = 434, 436, 424


def start(*command, standard=(-1, -1, -1), kept=(), **options):
    """Start a program by its path, and return (pid, pidfd, error, step)."""
    settings = {
        "environment": None,
        "directory": None,
        "close_others": True,
        "restore_signals": True,
        "new_session": False,
        "group": -1,
    } | options
    words = [os.fsencode(word) for word in command]
    return spawn.spawn(words[:1], words, standard=standard, kept=kept, **settings)


def wait(pid, pidfd):
    """Wait for the end of a child, and return its exit code."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    code = spawn.reap(pid, pidfd)
    if pidfd != -1:
        os.close(pidfd)
    return code


def test_a_pidfd_comes_with_the_child():
    pid, pidfd, error, _ = start("/bin/sh", "-c", "exit 5")
    assert error == 0
    assert not os.get_inheritable(pidfd)
    assert wait(pid, pidfd) == 5


def test_a_running_child_has_no_exit_code_yet():
    pid, pidfd, _, _ = start("/bin/sleep", "60")
    assert spawn.reap(pid, pidfd) is None
    assert spawn.reap(pid, -1) is None
    spawn.signal_pidfd(pidfd, signal.SIGKILL)
    assert wait(pid, pidfd) == -signal.SIGKILL


def test_an_exit_status_is_read_once():
    pid, pidfd, _, _ = start("/bin/true")
    os.waitpid(pid, 0)
    with pytest.raises(ChildProcessError):
        spawn.reap(pid, pidfd)
    with pytest.raises(ProcessLookupError):
        spawn.signal_pidfd(pidfd, signal.SIGKILL)
    os.close(pidfd)


def test_a_program_that_cannot_run_leaves_no_child():
    assert start("/there/is/none")[:2] == (-1, -1)
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    assert not [pid for pid in children if "Z (zombie)" in Path(f"/proc/{pid}/status").read_text()]


def test_the_first_path_that_is_there_says_why_none_can_run(tmp_path):
    unreadable = tmp_path / "file"
    unreadable.touch()
    paths = [b"/missing", os.fsencode(unreadable), b"/missing/too"]
    given = (None, None, (-1, -1, -1), (), True, True, False, -1)
    result = spawn.spawn(paths, [b"name"], *given)
    assert os.strerror(result[2]) == "Permission denied"
    assert result[3] == spawn.EXECUTING


def test_signal_handlers_and_the_mask_of_this_process_stay():
    def handler(*_):
        pass

    before = signal.signal(signal.SIGUSR1, handler)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        pid, pidfd, _, _ = start("/bin/true")
        assert wait(pid, pidfd) == 0
        assert signal.getsignal(signal.SIGUSR1) is handler
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == {signal.SIGUSR2}
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
        signal.signal(signal.SIGUSR1, before)


def test_a_child_inherits_the_mask_and_no_handler():
    """A signal that is blocked here is blocked there, as after fork; handlers cannot be."""
    reader, writer = os.pipe()
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        pid, pidfd, _, _ = start(
            "/bin/grep", "SigBlk", "/proc/self/status", standard=(-1, writer, -1)
        )
        assert wait(pid, pidfd) == 0
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
        signal.signal(signal.SIGUSR1, before)
        os.close(writer)
    with os.fdopen(reader) as printed:
        assert int(printed.read().split()[1], 16) == 1 << (signal.SIGUSR2 - 1)


# --- Descriptors ----------------------------------------------------------------------------------

# Runs alone, because it plays with the standard descriptors: starts a program once by Popen's own
# code and once by ours, for each way of giving it three of the standard descriptors as its own, and
# compares what it finds there, and that 5 is not there.
ARRANGEMENTS = r"""
import itertools, os, _posixsubprocess, sys
from meantime._core.spawn import spawn

for fd in (0, 1, 2, 5):
    opened = os.open(f"{sys.argv[1]}/{fd}", os.O_RDWR | os.O_CREAT)
    os.dup2(opened, fd, inheritable=fd < 3)
    os.close(opened)

script = b'all=$(ls -l /proc/$$/fd); echo "$all" >&8'
words = [b"/bin/sh", b"-c", script]

def by_popen(standard, errors):
    stdin, stdout, stderr = standard
    return _posixsubprocess.fork_exec(
        words, (words[0],), True, tuple(sorted((8, errors[1]))), None, None,
        stdin, -1, -1, stdout, -1, stderr, *errors,
        True, False, -1, None, None, None, -1, None, True)

def by_us(standard, errors):
    return spawn(words[:1], words, None, None, standard, (8,), True, True, False, -1)[0]

def found(start, standard):
    reader, writer = os.pipe()
    os.dup2(writer, 8)
    os.close(writer)
    errors = os.pipe()
    pid = start(standard, errors)
    for fd in (8, *errors):
        os.close(fd)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as printed:
        ends = [line.split()[-3::2] for line in printed if " -> " in line]
        return {fd: target for fd, target in ends if fd in {"0", "1", "2", "5"}}

lines = []
for standard in itertools.product((-1, 0, 1, 2), repeat=3):
    expected, got = found(by_popen, standard), found(by_us, standard)
    if got != expected or not got:
        lines.append(f"{standard}: {got!r} and not {expected!r}")
with open(sys.argv[1] + "/result", "w") as result:
    print(*lines, "done", sep="; ", file=result)
"""


@pytest.mark.slow
def test_descriptors_are_arranged_as_by_popen(tmp_path):
    """Some are in the way of others: standard output as input, error as output, and so on."""
    done = subprocess.run(
        [sys.executable, "-c", ARRANGEMENTS, str(tmp_path)], timeout=50, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "result").read_text() == "done\n"


# --- Sandboxes ------------------------------------------------------------------------------------

# A filter lasts until the process ends, so each program runs in one of its own. See seccomp(2).
# It refuses some calls, and clone(2) when it is asked for a pidfd.
REFUSE = """
import ctypes, struct, sys

def refuse(arch, clone, calls):
    libc = ctypes.CDLL(None, use_errno=True)
    load, equal, has_bit, answer = 0x20, 0x15, 0x45, 0x06
    allow, eperm = 0x7FFF0000, 0x00050001
    steps = [(load, 0, 0, 4), (equal, 1, 0, arch), (answer, 0, 0, allow), (load, 0, 0, 0)]
    for call in calls:
        steps += [(equal, 0, 1, call), (answer, 0, 0, eperm)]
    steps += [(equal, 0, 3, clone), (load, 0, 0, 16), (has_bit, 0, 1, 0x1000),
              (answer, 0, 0, eperm), (answer, 0, 0, allow)]
    program = b"".join(struct.pack("=HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(steps), ctypes.addressof(buffer))
    libc.prctl(38, 1, 0, 0, 0)
    if libc.prctl(22, 2, ctypes.create_string_buffer(head, len(head)), 0, 0):
        sys.exit(77)
"""

PROGRAM = """
import asyncio, subprocess, threading, meantime
from meantime.loop import child

async def main():
    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    names = [thread.name for thread in threading.enumerate()]
    popen = process._transport.get_extra_info("subprocess")
    print(popen.pidfd != -1, any(name.startswith("asyncio-waitpid-") for name in names))
    print((await process.communicate(b"data"))[0], process.returncode)
    process = await asyncio.create_subprocess_exec("sleep", "60")
    process.terminate()
    print(await process.wait())

meantime.run(main())
"""


@pytest.mark.skipif(
    platform.machine() not in AUDIT_ARCH, reason="the filter is written for x86-64 and aarch64"
)
@pytest.mark.parametrize(
    ("calls", "has_pidfd", "has_thread"),
    [
        ([PIDFD_OPEN], False, True),
        # Popen starts the child then, and the pidfd is opened afterwards.
        ([CLOSE_RANGE], True, False),
        ([PIDFD_SEND_SIGNAL, PIDFD_OPEN], False, True),
        ([], False, True),
    ],
)
def test_programs_run_in_a_sandbox_that_knows_no_pidfds(backend, calls, has_pidfd, has_thread):
    machine = platform.machine()
    refusal = f"refuse({AUDIT_ARCH[machine]}, {CLONE[machine]}, {calls})\n"
    done = subprocess.run(
        [sys.executable, "-c", REFUSE + refusal + textwrap.dedent(PROGRAM)],
        env=os.environ | {"MEANTIME_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=50,
    )
    if done.returncode == 77:
        pytest.skip("this process may not install a seccomp filter")
    assert done.stderr == ""
    expected = [f"{has_pidfd} {has_thread}", "b'data' 0", str(-signal.SIGTERM)]
    assert done.stdout.splitlines() == expected
