"""pytest: every way of its page puts the tests on meantime's loop."""

import re

import pytest

from tests.ecosystem.pages import (
    Command,
    Page,
    check_installation,
    check_nothing_is_left_out,
    run_command,
)

PAGE = Page("pytest")

pytestmark = pytest.mark.slow


def run_tests(line, directory, backend):
    """Run pytest in a directory of its own, where a warning is an error, too."""
    (directory / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
    )
    return run_command(Command(line, ""), directory, backend).stdout


def test_the_page_says_what_to_install():
    check_installation(PAGE)
    check_nothing_is_left_out(PAGE, "pytest")


@pytest.mark.parametrize("command", PAGE.commands_with("pytest"), ids=str)
def test_every_command_of_the_page_runs_its_tests_on_meantime(command, backend, tmp_path):
    PAGE.write_files(tmp_path)
    printed = run_tests(command.line, tmp_path, backend)
    assert re.search(rf"= {command.output or '1 passed'} in ", printed), printed


PLUGINS = """
import asyncio
import unittest

import pytest


def check():
    assert "meantime" in str(type(asyncio.get_running_loop()))


@pytest.mark.asyncio
async def test_pytest_asyncio():
    check()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_anyio(anyio_backend):
    check()


class TestUnittest(unittest.IsolatedAsyncioTestCase):
    async def test_unittest(self):
        check()
"""


def test_meantime_run_reaches_every_plugin(backend, tmp_path):
    (tmp_path / "test_plugins.py").write_text(PLUGINS)
    printed = run_tests("meantime run -m pytest", tmp_path, backend)
    assert "= 3 passed in " in printed, printed


def test_install_in_conftest_reaches_every_plugin(backend, tmp_path):
    (tmp_path / "conftest.py").write_text(PAGE.files["anywhere/conftest.py"])
    (tmp_path / "test_plugins.py").write_text(PLUGINS)
    printed = run_tests("pytest", tmp_path, backend)
    assert "= 3 passed in " in printed, printed


def test_without_them_the_tests_run_on_asyncio(tmp_path):
    """Or the tests above would prove nothing."""
    (tmp_path / "test_plugins.py").write_text(PLUGINS)
    assert "= 3 failed in " in run_tests("pytest", tmp_path, "epoll")


def test_the_header_says_what_is_waited_with(backend, tmp_path):
    PAGE.write_files(tmp_path)
    assert f"\nmeantime: {backend}\n" in run_tests("pytest header", tmp_path, backend)
