"""granian: as its page says."""

import signal
import sys

import pytest

from tests.ecosystem.pages import Page, check_installation, check_nothing_is_left_out, check_server

PAGE = Page("granian")

pytestmark = pytest.mark.slow


def test_the_page_says_what_to_install():
    check_installation(PAGE)
    check_nothing_is_left_out(PAGE, "granian", "python")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", PAGE.commands_with("granian", "python"), ids=str)
def test_every_command_of_the_page_serves_on_meantime(command, backend, tmp_path, stop):
    if command.words[0] == "meantime" and sys.version_info >= (3, 14):
        pytest.skip("multiprocessing no longer forks by default; the page says so")
    check_server(PAGE, command, backend, tmp_path, stop)
