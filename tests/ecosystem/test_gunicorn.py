"""gunicorn: as its page says, with each of the worker classes that have a loop."""

import os
import signal
from pathlib import Path

import pytest

from tests.ecosystem.pages import (
    Command,
    Page,
    answer_of,
    check_installation,
    check_nothing_is_left_out,
    check_server,
    server,
)
from tests.ecosystem.servers import free_port, wait_until

PAGE = Page("gunicorn")

pytestmark = pytest.mark.slow


def test_the_page_says_what_to_install():
    check_installation(PAGE)
    check_nothing_is_left_out(PAGE, "gunicorn")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", PAGE.commands_with("gunicorn"), ids=str)
def test_every_command_of_the_page_serves_on_meantime(command, backend, tmp_path, stop):
    """Each way must do by itself: only gunicorn's plain command has the configuration file."""
    is_plain = command.words[-2:] == ["--worker-class", "asgi"] and command.words[0] == "gunicorn"
    without = () if is_plain else ("gunicorn.conf.py",)
    check_server(PAGE, command, backend, tmp_path, stop, without)


AIOHTTP_APP = """
import asyncio
from aiohttp import web

async def which_loop(request):
    return web.Response(text=f"{type(asyncio.get_running_loop())}\\n")

app = web.Application()
app.add_routes([web.get("/", which_loop)])
"""


def test_the_configuration_of_the_page_reaches_the_worker_of_aiohttp(backend, tmp_path):
    (tmp_path / "aiohttp_app.py").write_text(AIOHTTP_APP)
    line = "gunicorn aiohttp_app:app --bind 127.0.0.1:8000 --worker-class aiohttp.GunicornWebWorker"
    check_server(PAGE, Command(line, ""), backend, tmp_path)


def test_a_worker_that_is_killed_is_replaced_by_one_on_meantime(backend, tmp_path):
    """The new one is a fork of the same parent, in which no loop has ever been."""
    command = PAGE.commands_with("gunicorn")[0]
    (question,) = PAGE.commands_with("curl")
    port = free_port()
    PAGE.write_files(tmp_path, port)
    with server(command, tmp_path, backend, port) as process:
        assert answer_of(question, port).strip() == question.output
        (before,) = children_of(process.pid)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: children_of(process.pid) - {before}, process)
        assert answer_of(question, port).strip() == question.output
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0


def children_of(pid):
    return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
