"""The benchmark of files runs and gives figures for blocking files, both pollers and the limits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("files.py")
sys.path.insert(0, str(SCRIPT.parent))

import files  # noqa: E402

NAMES = ["blocking", "meantime-io_uring", "meantime-epoll", "c-pread", "c-io_uring"]

pytestmark = pytest.mark.slow


def ask(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--quick", "--rounds", "1", "--folder", str(folder)]
    return subprocess.run(
        [*command, "--peers", ",".join(NAMES), *options],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def cells_of(printed: str, title: str) -> list[str]:
    """Return what stands in the columns of the libraries."""
    (row,) = [line for line in printed.splitlines() if line.startswith(title + " ")]
    return (
        row[files.TITLE_WIDTH + files.GOAL_WIDTH :]
        .replace(" ✓", "")
        .replace(" ✗", "")
        .replace(" s", "s")
        .split()
    )


def test_each_question_has_an_answer(tmp_path: Path) -> None:
    done = ask(tmp_path)
    assert done.returncode == 0, done.stderr
    for question, title in files.QUESTIONS.items():
        cells = cells_of(done.stdout, title)
        if "cold" in question and "keeps the file in memory" in done.stderr:
            continue  # there is no disk below
        assert "-" not in cells[:3], cells
        if question not in {"pieces", "lines", "walk"} and "not available" not in done.stderr:
            assert "-" not in cells[3:], cells
    assert "longest step" in done.stdout
    assert not list(tmp_path.iterdir()), "files are left behind"


def test_what_is_read_cold_is_not_in_the_page_cache(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    if not files.drop_from_cache(path):
        pytest.skip("this file system keeps its files in memory")
    assert path.read_bytes() == bytes(1 << 20)
    assert files.drop_from_cache(path)


def test_a_folder_with_too_little_room_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.Sizes, "room_bytes", lambda sizes: 1 << 60)
    with pytest.raises(SystemExit, match="too little room"):
        files.compare([], NAMES, 1, True, tmp_path)
    assert not list(tmp_path.iterdir())
