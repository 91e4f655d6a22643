"""`python -m asyncio ps` and `pstree`: another process looks into one that runs on our loop.

They read the interpreter's own records of tasks and loops in the memory of the process.
"""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(sys.version_info < (3, 14), reason="came with Python 3.14"),
    pytest.mark.slow,
]

PROGRAM = """
import asyncio, ctypes, meantime

async def wait_for_ever():
    await asyncio.get_running_loop().create_future()

async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(wait_for_ever(), name="waiter")
        await asyncio.sleep(0)
        print("ready", flush=True)

# Where the kernel lets only ancestors look (Yama), let everybody: PR_SET_PTRACER.
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))
meantime.run(main())
"""


@contextlib.contextmanager
def program(backend):
    """Run the program until all its tasks wait, and yield its process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        text=True,
        env={"MEANTIME_BACKEND": backend},
    )
    try:
        assert process.stdout.readline() == "ready\n"
        while state_of(process.pid) != "S":
            time.sleep(0.01)
        yield process.pid
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def state_of(pid):
    """Return what the kernel says a process does: "R" for running, "S" for sleeping."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def look_into(pid, command):
    done = subprocess.run(
        [sys.executable, "-m", "asyncio", command, str(pid)], capture_output=True, text=True
    )
    if done.returncode and "ermission" in done.stdout + done.stderr:
        pytest.skip("this machine lets nobody look into another process")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ps_lists_the_tasks(backend):
    with program(backend) as pid:
        lines = look_into(pid, "ps").splitlines()
    (waiter,) = (line for line in lines if "wait_for_ever" in line)
    assert "waiter" in waiter
    assert "Task-1" in waiter  # who waits for it
    assert any("Task-1" in line and "main" in line and line != waiter for line in lines)


def test_pstree_shows_who_waits_for_whom(backend):
    with program(backend) as pid:
        shown = look_into(pid, "pstree")
    assert shown.index("Task-1") < shown.index("main") < shown.index("waiter")
