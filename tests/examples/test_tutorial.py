"""The tutorial's programs print what the tutorial says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "first-steps.md"
# A program, and the next console block that runs it.
RUN = re.compile(r"```python\n(.*?)```.*?```console\n\$ \S*meantime run (\S+)\n(.*?)```", re.DOTALL)


def runs():
    return [(name, code, output) for code, name, output in RUN.findall(TUTORIAL.read_text())]


def test_the_tutorial_has_two_programs():
    assert [name for name, _, _ in runs()] == ["first_steps.py", "kitchen.py"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code", "output"), runs(), ids=[name for name, _, _ in runs()])
def test_a_program_prints_what_is_promised(name, code, output, tmp_path):
    (tmp_path / name).write_text(code)
    completed = subprocess.run(
        [sys.executable, "-m", "meantime", "run", name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert completed.stdout == output, completed.stderr
