"""A short fuzz of all compiled modules, and proof that the fuzzer sees what it is there to see."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import discovery

ROOT = Path(__file__).parents[2]


def fuzz(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_arguments_and_no_order_crash_the_process():
    """The seed is fixed, so that a run fails for its change alone; `make fuzz` draws one."""
    done = fuzz("--seconds", "20", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 crashes" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("program", "said"),
    [
        ([["crash"]], "died of SIGSEGV"),
        ([["look", 0]], None),
    ],
)
def test_a_crash_is_told_and_a_good_program_is_not_called_one(tmp_path, program, said):
    path = tmp_path / "program.json"
    path.write_text(json.dumps(["epoll", program, []]))
    done = fuzz("--replay", str(path))
    assert (said is None) == (done.returncode == 0)
    assert (said or "") in done.stderr


def test_every_compiled_class_is_found():
    """By looking at the built modules; the sources name the same ones."""
    sources = (ROOT / "src" / "meantime").rglob("*.pyx")
    named = {
        line.split("class ")[1].split("(")[0].split(":")[0]
        for source in sources
        for line in source.read_text().splitlines()
        if line.startswith("cdef class ")
    }
    assert named <= {name.rsplit(".", 1)[1] for name in discovery.classes()}
