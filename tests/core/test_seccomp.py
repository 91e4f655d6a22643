"""Where a container's seccomp profile forbids io_uring: epoll, and the reason is told."""

import os
import platform
import subprocess
import sys
import textwrap

import pytest

# The numbers that the filter compares with; those of io_uring are the same on both.
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CALLS = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427}

pytestmark = pytest.mark.skipif(
    platform.machine() not in AUDIT_ARCH, reason="the filter is written for x86-64 and aarch64"
)

# A filter lasts until the process ends, so each program runs in one of its own. See seccomp(2).
REFUSE = """
import ctypes, struct, sys

def refuse(call, arch):
    libc = ctypes.CDLL(None, use_errno=True)
    load, equal, answer = 0x20, 0x15, 0x06
    allow, eperm = 0x7FFF0000, 0x00050001
    program = b"".join(struct.pack("=HBBI", *step) for step in [
        (load, 0, 0, 4), (equal, 0, 3, arch),
        (load, 0, 0, 0), (equal, 0, 1, call),
        (answer, 0, 0, eperm), (answer, 0, 0, allow),
    ])
    steps = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", 6, ctypes.addressof(steps))
    libc.prctl(38, 1, 0, 0, 0)
    if libc.prctl(22, 2, ctypes.create_string_buffer(head, len(head)), 0, 0):
        sys.exit(77)
"""

ECHO = """
import asyncio, meantime

async def answer(reader, writer):
    writer.write(await reader.read(100))
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello")
        print(await reader.read())
        writer.close()
        await writer.wait_closed()
    print(meantime.backend())

print(meantime.backend())
meantime.run(main())
"""


def run_without(call, program, **environment):
    """Run a program in a process that is refused a system call. Returns what it printed."""
    refusal = f"refuse({CALLS[call]}, {AUDIT_ARCH[platform.machine()]})\n"
    clean = {name: value for name, value in os.environ.items() if name != "MEANTIME_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", REFUSE + refusal + textwrap.dedent(program)],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=50,
    )
    if done.returncode == 77:
        pytest.skip("this process may not install a seccomp filter")
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.splitlines()


@pytest.mark.parametrize("call", CALLS)
def test_a_program_runs_on_epoll_and_can_tell_why(call):
    """Docker's and Kubernetes' default profiles refuse io_uring: it must just work there."""
    before, echoed, running = run_without(call, ECHO)
    assert before.startswith("epoll: io_uring")
    assert "EPERM" in before
    assert running == before
    assert echoed == "b'hello'"


@pytest.mark.parametrize("call", CALLS)
def test_who_asks_for_io_uring_by_name_is_told(call):
    """Falling back without a word would make their measurements lies."""
    program = """
        import meantime
        try:
            meantime.new_event_loop()
        except meantime.BackendError as error:
            print(error)
    """
    (message,) = run_without(call, program, MEANTIME_BACKEND="io_uring")
    assert "EPERM" in message
    assert "asked for by name" in message
    assert "'epoll'" in message


@pytest.mark.parametrize("call", CALLS)
def test_a_refusal_leaves_no_descriptor_open(call):
    """A program makes many loops in its life, and each asks again."""
    program = """
        import os, meantime
        meantime.new_event_loop().close()
        before = os.listdir("/proc/self/fd")
        for _ in range(10):
            meantime.new_event_loop().close()
        print(len(os.listdir("/proc/self/fd")) - len(before))
    """
    assert run_without(call, program) == ["0"]


def test_epoll_asked_for_by_name_gives_no_reason():
    """Nobody asked for io_uring, so nothing was refused."""
    program = "import meantime\nprint(meantime.backend())"
    assert run_without("io_uring_setup", program, MEANTIME_BACKEND="epoll") == ["epoll"]
