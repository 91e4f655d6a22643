"""Jupyter and IPython: real kernels and a real terminal, started as their page says."""

import asyncio
import contextlib
import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_event_loop

from tests.ecosystem.pages import (
    Page,
    check_installation,
    check_nothing_is_left_out,
    environment,
    run_command,
)

PAGE = Page("jupyter")
OURS = "meantime.loop.eventloop.EventLoop"

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def loop_of_client():
    """Make the loop that jupyter_client keeps for its blocking calls, and close it at the end."""
    loop = ensure_event_loop()
    yield
    asyncio.set_event_loop(None)
    loop.close()


def test_the_page_says_what_to_install():
    check_installation(PAGE)
    check_nothing_is_left_out(PAGE, "jupyter", "meantime")


# --- Kernels --------------------------------------------------------------------------------------


@pytest.fixture
def environment_of_kernel(backend, tmp_path, monkeypatch):
    """Give the kernels of a test directories of their own, and a poller."""
    for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    return environment(tmp_path, backend)


@pytest.fixture
def kernel_of_page(environment_of_kernel, tmp_path, backend):
    """Install the kernel of the page by the page's command, and return its name."""
    (spec,) = [json.loads(code) for language, code in PAGE.blocks if language == "json"]
    assert spec["argv"][0] == "python"
    spec["argv"][0] = sys.executable
    (tmp_path / "meantime").mkdir()
    (tmp_path / "meantime" / "kernel.json").write_text(json.dumps(spec))
    (install,) = PAGE.commands_with("jupyter")
    done = run_command(install, tmp_path, backend)
    assert done.returncode == 0, done.stdout
    return "meantime"


@contextlib.contextmanager
def running_kernel(name, env):
    manager = KernelManager(kernel_name=name, kernel_spec_manager=KernelSpecManager())
    manager.start_kernel(env=env)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=40)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
        manager.cleanup_resources()
        client.context.term()


def run_cell(client, code):
    """Run a cell, and return its result or else what it printed."""
    outputs = []
    reply = client.execute_interactive(
        code, timeout=30, output_hook=lambda message: outputs.append(message["content"])
    )
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(
        output["data"]["text/plain"] if "data" in output else output.get("text", "")
        for output in outputs
    )


def test_a_kernel_of_its_own_runs_cells_on_meantime(kernel_of_page, environment_of_kernel):
    with running_kernel(kernel_of_page, environment_of_kernel) as (_, client):
        assert run_cell(client, PAGE.files["cell.py"]) == OURS
        run_cell(client, "task = asyncio.create_task(asyncio.sleep(0.01, 'slept between cells'))")
        assert run_cell(client, "await task") == "'slept between cells'"
        assert run_cell(client, "print(await asyncio.to_thread(lambda: 6 * 7))") == "42\n"
        process = "await asyncio.create_subprocess_exec('echo', 'hello', stdout=-1)"
        assert run_cell(client, f"(await ({process}).communicate())[0]") == r"b'hello\n'"


def test_a_cell_can_be_interrupted(kernel_of_page, environment_of_kernel):
    with running_kernel(kernel_of_page, environment_of_kernel) as (manager, client):
        run_cell(client, "import asyncio")
        # Without stop_on_error, or the kernel would refuse the next cell for a moment.
        request = client.execute(
            "print('begun', flush=True); await asyncio.sleep(60)", stop_on_error=False
        )
        while client.get_iopub_msg(timeout=20)["content"].get("text") != "begun\n":
            pass
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=20)
        assert reply["parent_header"]["msg_id"] == request
        assert reply["content"]["ename"] in ("KeyboardInterrupt", "CancelledError")
        assert run_cell(client, "await asyncio.sleep(0, 'still here')") == "'still here'"


def test_the_configuration_of_the_page_reaches_every_kernel(environment_of_kernel, tmp_path):
    PAGE.write_files(tmp_path / "IPYTHONDIR")
    with running_kernel("python3", environment_of_kernel) as (_, client):
        assert run_cell(client, PAGE.files["cell.py"]) == OURS


def test_a_kernel_answers_whose_startup_file_installs_meantime(environment_of_kernel, tmp_path):
    """Some of the kernel's loops exist by then, and must not be lost."""
    startup = tmp_path / "IPYTHONDIR" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "first.py").write_text("import meantime\nmeantime.install()\n")
    with running_kernel("python3", environment_of_kernel) as (_, client):
        assert run_cell(client, "import asyncio; await asyncio.sleep(0.01, 'here')") == "'here'"


# --- The terminal ---------------------------------------------------------------------------------


class Terminal:
    """A program at a pseudo-terminal, as a person sees it."""

    def __init__(self, words, env, directory):
        self.end, theirs = pty.openpty()
        self.process = subprocess.Popen(
            words,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=env | {"TERM": "dumb"},
            cwd=directory,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def type(self, text):
        os.write(self.end, text.encode())

    def wait_for(self, pattern, timeout_s=30):
        """Wait until something like this has appeared since the last time."""
        give_up_at = time.monotonic() + timeout_s
        while not (found := re.search(pattern, self.seen)):
            remaining_s = give_up_at - time.monotonic()
            if remaining_s < 0 or not select.select([self.end], [], [], remaining_s)[0]:
                pytest.fail(f"{pattern!r} did not appear in {self.seen!r}")
            try:
                new = os.read(self.end, 65_536).decode(errors="replace")
            except OSError:  # EIO: the program has ended
                pytest.fail(f"{pattern!r} did not appear in {self.seen!r}")
            self.seen = ESCAPES.sub("", self.seen + new)
        self.seen = self.seen[found.end() :]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.end)


@pytest.mark.parametrize("way", ["meantime run -m IPython", "ipython"])
def test_a_terminal_runs_cells_on_meantime(environment_of_kernel, tmp_path, way):
    """``ipython`` reads the configuration of the page, ``meantime run`` needs none."""
    assert way == "ipython" or way in [command.line for command in PAGE.commands]
    if way == "ipython":
        PAGE.write_files(tmp_path / "IPYTHONDIR")
    terminal = Terminal(shlex.split(way), environment_of_kernel, tmp_path)
    with contextlib.closing(terminal):
        terminal.wait_for(r"In \[1\]:")
        terminal.type("import asyncio\r")
        terminal.wait_for(r"In \[2\]:")
        terminal.type("await asyncio.sleep(0.01, type(asyncio.get_running_loop()))\r")
        terminal.wait_for(rf"Out\[2\]: {re.escape(OURS)}")
        terminal.wait_for(r"In \[3\]:")
        terminal.type("exit\r")
        assert terminal.process.wait(timeout=20) == 0
