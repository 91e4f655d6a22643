"""The plugin for pytest, in a pytest of its own."""

import os
import subprocess
import sys

TESTS = """
import asyncio
import time

import pytest


async def block():
    time.sleep(0.2)
    await asyncio.sleep(0)


@pytest.mark.meantime_guard
def test_blocks():
    asyncio.run(block())


@pytest.mark.meantime_guard(threshold_s=5)
def test_blocks_but_may():
    asyncio.run(block())


@pytest.mark.meantime_guard
def test_fails_by_itself():
    asyncio.run(block())
    raise KeyError("its own")


def test_has_the_fixture(meantime_guard):
    asyncio.run(block())
    assert [one.call for one in meantime_guard.findings] == ["time.sleep"]
"""


def test_the_marker_fails_a_test_and_the_fixture_tells_it(tmp_path):
    (tmp_path / "test_it.py").write_text(TESTS)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "meantime.guard.plugin", "--strict-markers", "-q"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert "2 failed, 2 passed" in ended.stdout, ended.stdout + ended.stderr
    assert "time.sleep held the event loop" in ended.stdout
    assert "its own" in ended.stdout
