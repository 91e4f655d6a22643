"""The how-to pages, read as their readers do: files to write, commands to give, what they print.

A page and its test cannot diverge, because the test has nothing of its own. A block of code begins
with a comment that names its file; a command stands after a dollar sign, and below it what it
prints. Servers on the pages listen on port 8000; a test takes a free one in its place.
"""

import contextlib
import importlib.metadata
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from tests.ecosystem.servers import accepts_connections, free_port, wait_until

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
# Where pip has put uvicorn, pytest, meantime and the others.
PROGRAMS = Path(sys.executable).parent

BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
FILE_NAME = re.compile(r"# (\S+\.\w+)\n")
PORT = "8000"


@dataclass(frozen=True)
class Command:
    """A line after a dollar sign, and what the page says that it prints."""

    line: str
    output: str

    @property
    def words(self):
        return shlex.split(self.line)

    def __str__(self):
        return self.line


class Page:
    """One page of docs/how-to."""

    def __init__(self, name):
        self.text = (HOW_TO / f"{name}.md").read_text()
        self.blocks = [(kind, textwrap.dedent(text)) for kind, text in BLOCK.findall(self.text)]
        self.files = {}
        for language, code in self.blocks:
            if language == "python":
                self.add_file(code)
        self.commands = [
            command
            for language, text in self.blocks
            if language == "console"
            for command in commands_of(text)
        ]

    def add_file(self, code):
        name = FILE_NAME.match(code)
        assert name, f"this block must begin with a comment that names its file:\n{code}"
        assert name[1] not in self.files, f"{name[1]} is on the page twice"
        self.files[name[1]] = code

    def commands_with(self, *programs):
        """Return the commands that start one of these programs, also by ``meantime run -m``."""
        return [
            command
            for command in self.commands
            if command.words[0] in programs
            or (command.words[:3] == ["meantime", "run", "-m"] and command.words[3] in programs)
        ]

    def write_files(self, directory, port=PORT, without=()):
        for name, code in self.files.items():
            if name in without:
                continue
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code.replace(PORT, str(port)))


def commands_of(text):
    """Yield the commands of a console block."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, output = part.partition("\n")
        yield Command(line, output.strip())


def environment(directory, backend):
    """Return the environment in which the programs of a page run, for a user who is new here."""
    return os.environ | {
        "HOME": str(directory),
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "MEANTIME_BACKEND": backend,
        "PYTHONUNBUFFERED": "1",
    }


def run_command(command, directory, backend):
    """Run a command that ends by itself, and return the finished process."""
    return subprocess.run(
        command.words,
        cwd=directory,
        env=environment(directory, backend),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
    )


def restore_signals():
    """Take SIGINT again, which is ignored where a shell runs the tests in its background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def server(command, directory, backend, port):
    """Run a command of a page that serves, on this port, and yield its process."""
    with subprocess.Popen(
        shlex.split(command.line.replace(PORT, str(port))),
        cwd=directory,
        env=environment(directory, backend),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that no worker process stays if a test fails
        preexec_fn=restore_signals,  # noqa: PLW1509 - it takes no lock
    ) as process:
        try:
            wait_until(lambda: accepts_connections(port), process)
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def answer_of(command, port):
    """Return what a ``curl`` command of a page prints."""
    url = command.words[-1].replace(PORT, str(port))
    with urllib.request.urlopen(url, timeout=20) as response:
        return response.read().decode()


def check_server(page, command, backend, directory, stop=signal.SIGTERM, without=()):
    """Serve as the page says, ask what the page asks, and end the server as a user would."""
    port = free_port()
    page.write_files(directory, port, without)
    questions = page.commands_with("curl")
    assert questions, "the page does not say how to see that it works"
    with server(command, directory, backend, port) as process:
        for question in questions:
            assert answer_of(question, port).strip() == question.output
        send(stop, process)
        printed, _ = process.communicate(timeout=30)
    assert "Traceback" not in printed, printed
    # Some servers raise the signal once more after their clean-up, so that the parent sees it.
    assert process.returncode in (0, -stop), printed


def send(stop, process):
    """Send a signal as users do: Ctrl-C reaches all processes of a terminal, ``kill`` the first."""
    if stop == signal.SIGINT:
        os.killpg(process.pid, stop)
    else:
        process.send_signal(stop)


def check_installation(page):
    """Check that what the page installs is what the tests run with."""
    installs = page.commands_with("pip")
    assert installs, "the page does not say what to install"
    for install in installs:
        for word in install.words[2:]:
            wanted = Requirement(word)
            assert wanted.specifier.contains(importlib.metadata.version(wanted.name)), word


def check_nothing_is_left_out(page, *programs):
    """Check that a page has no command but those that its test runs."""
    tested = page.commands_with("pip", "curl", *programs)
    assert [command.line for command in page.commands if command not in tested] == []
