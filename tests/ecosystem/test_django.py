"""Django: as its page says, on an ASGI server and on its own development server."""

import signal

import pytest

from tests.ecosystem.pages import (
    Command,
    Page,
    check_installation,
    check_nothing_is_left_out,
    check_server,
    run_command,
)

PAGE = Page("django")

pytestmark = pytest.mark.slow


def test_the_page_says_what_to_install():
    check_installation(PAGE)
    check_nothing_is_left_out(PAGE, "uvicorn", "meantime")


@pytest.mark.parametrize("command", PAGE.commands_with("uvicorn", "meantime"), ids=str)
def test_every_command_of_the_page_serves_on_meantime(command, backend, tmp_path):
    """The development server ends only on Ctrl-C with an exit status of 0."""
    check_server(PAGE, command, backend, tmp_path, signal.SIGINT)


TESTS = """
import asyncio

from django.test import SimpleTestCase


class TestLoop(SimpleTestCase):
    async def test_loop(self):
        assert "meantime" in str(type(asyncio.get_running_loop()))

    async def test_view(self):
        answer = await self.async_client.get("/", headers={"host": "127.0.0.1"})
        assert b"meantime" in answer.content
"""


def test_asynchronous_tests_run_on_meantime(backend, tmp_path):
    PAGE.write_files(tmp_path)
    (tmp_path / "tests.py").write_text(TESTS)
    done = run_command(Command("meantime run manage.py test", ""), tmp_path, backend)
    assert "Ran 2 tests" in done.stdout
    assert done.returncode == 0, done.stdout
    on_asyncio = run_command(Command("python manage.py test", ""), tmp_path, backend)
    assert "FAILED (failures=2)" in on_asyncio.stdout
