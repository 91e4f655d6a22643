"""The benchmark of files runs and gives figures for blocking files and for both pollers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("files.py")

pytestmark = pytest.mark.slow


def test_each_question_has_an_answer(tmp_path: Path) -> None:
    names = "blocking,meantime-io_uring,meantime-epoll"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--rounds", "1", "--peers", names],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=tmp_path,
        check=True,
    )
    rows = [line for line in done.stdout.splitlines() if " s" in line and "step" not in line]
    assert len(rows) == 11
    assert all(row.split()[-1] != "-" for row in rows), done.stdout + done.stderr
    assert "longest step" in done.stdout
