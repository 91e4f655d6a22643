"""Django: as its page says, on an ASGI server and on its own development server."""

import signal

import pytest

from tests.ecosystem.pages import (
    Page,
    check_installation,
    check_nothing_is_left_out,
    check_server,
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
