"""A short random run among faults, as `make faults` does it for longer."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import why_unavailable

PROGRAM = Path(__file__).with_name("run.py")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["io_uring", "epoll"])
def test_a_busy_loop_survives_a_few_seconds_of_everything(compiled, backend):
    """In a process of its own, which may hang or crash without taking the other tests along."""
    if why_unavailable(backend):
        pytest.skip(why_unavailable(backend))
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--seconds", "4", "--backend", backend],
        capture_output=True,
        text=True,
        timeout=55,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "survived" in done.stdout
    assert " faults injected" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["io_uring", "epoll"])
def test_full_unix_sockets_lose_no_wake_up(backend):
    """After a short send a transport waits to be told of room. It must be told."""
    if why_unavailable(backend):
        pytest.skip(why_unavailable(backend))
    program = PROGRAM.with_name("stress_unix.py")
    done = subprocess.run(
        [sys.executable, str(program), "--rounds", "40", "--backend", backend],
        capture_output=True,
        text=True,
        timeout=55,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no wake-up was lost" in done.stdout
