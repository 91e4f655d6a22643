"""Running the command line as a user does: in a process of its own."""

import os
import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def meantime(tmp_path):
    """Run `meantime …` in an empty directory and return the finished process."""

    def run(*words, **environment):
        return subprocess.run(
            [sys.executable, "-m", "meantime", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            env={**os.environ, **environment},
        )

    return run


@pytest.fixture
def python(tmp_path):
    """Run `python …` in the same directory, to compare with."""

    def run(*words):
        return subprocess.run(
            [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=30
        )

    return run


@pytest.fixture
def write(tmp_path):
    """Write a program into the directory."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write
