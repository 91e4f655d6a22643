"""Programs that are wrong in one way, and programs that are right though they look wrong.

A wrong one says on its line, or above it, what must be found there:
`# wrong: KIND CALL -> part of the advice`, with * for any call. Nothing else may be found in it,
and nothing at all in the right ones.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CORPUS = Path(__file__).parent / "corpus"
WRONG = sorted((CORPUS / "wrong").glob("*.py"))
RIGHT = sorted((CORPUS / "right").glob("*.py"))
MARK = re.compile(r"# wrong: (\S+) (\S+) -> (.+?)\s*$")
ATTEMPTS = 3
LOOPS = ["io_uring", "epoll", "asyncio"]


def judge(program, loop):
    """Run a program, and return what guard found in it."""
    ended = subprocess.run(
        [sys.executable, Path(__file__).with_name("judged.py"), loop, program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if "BackendError" in ended.stderr:
        pytest.skip(f"no {loop} here")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert not [line for line in lines if line.startswith("ENDED")], lines
    return [json.loads(line.removeprefix("FOUND ")) for line in lines if line[:6] == "FOUND "]


def judge_until(program, loop, expected):
    """Judge a program until that is found, a few times: others on the machine may hold it up."""
    for _ in range(ATTEMPTS):
        found = judge(program, loop)
        if [summary(one) for one in found] == expected:
            break
    return found


def summary(finding):
    return finding["kind"], Path(finding["file"] or "").name, finding["line"]


def test_the_corpus_is_large():
    assert len(WRONG) >= 40
    assert len(RIGHT) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("program", WRONG, ids=lambda path: path.stem)
def test_a_wrong_program_is_found_out(program, loop):
    [(line, mark)] = [
        (number + text.lstrip().startswith("#"), mark)
        for number, text in enumerate(program.read_text().splitlines(), 1)
        if (mark := MARK.search(text))
    ]
    kind, call, advice = mark.groups()
    expected = [(kind, program.name, line)]
    found = judge_until(program, loop, expected)
    assert [summary(one) for one in found] == expected, "\n".join(one["text"] for one in found)
    assert call in ("*", found[0]["call"])
    assert advice in found[0]["text"]


@pytest.mark.slow
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("program", RIGHT, ids=lambda path: path.stem)
def test_a_right_program_is_not_accused(program, loop):
    assert not judge_until(program, loop, [])
