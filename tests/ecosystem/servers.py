"""Real servers for the tests: started on a free port, in a directory of their own, and stopped."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

# A user without rights, for servers that refuse to run as root.
PLAIN_USERS = ("postgres", "nobody")

# What is preloaded into our tests (a sanitizer, say) is not for other people's servers.
SERVER_ENV = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def free_port():
    """Return a TCP port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def find_program(name, how_to_get_it):
    """Return a program's path, or skip the test, saying how to get it.

    With MEANTIME_REQUIRE_SERVERS=1 a missing server fails the test: CI must not skip in silence.
    """
    places = [os.environ["PATH"]]
    places += map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
    if found := shutil.which(name, path=os.pathsep.join(places)):
        return found
    message = f"{name} is not installed. {how_to_get_it}"
    if os.environ.get("MEANTIME_REQUIRE_SERVERS") == "1":
        pytest.fail(message)
    pytest.skip(message)


def wait_until(is_ready, process, timeout_s=60):
    """Wait until a server that was just started says that it is ready."""
    give_up_at = time.monotonic() + timeout_s
    while not is_ready():
        if process.poll() is not None:
            pytest.fail(f"the server ended with exit status {process.returncode}")
        if time.monotonic() > give_up_at:
            pytest.fail(f"the server was not ready within {timeout_s} seconds")
        time.sleep(0.02)


def accepts_connections(port):
    """Say whether somebody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def redis_server():
    """Run a Redis server that keeps nothing, and yield its port."""
    program = find_program("redis-server", "Install it (Debian: apt-get install redis-server).")
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory],
            stdout=subprocess.DEVNULL,
            env=SERVER_ENV,
        )
        try:
            wait_until(lambda: accepts_connections(port), process)
            yield port
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def postgres_server():
    """Run a PostgreSQL server with the superuser ``tester``, and yield its port."""
    how_to_get_it = "Install PostgreSQL (Debian: apt-get install postgresql)."
    initdb = find_program("initdb", how_to_get_it)
    postgres = find_program("postgres", how_to_get_it)
    ask = find_program("pg_isready", how_to_get_it)
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        user = give_to_plain_user(directory)
        data = Path(directory) / "data"
        run_quietly([initdb, "-D", data, "-U", "tester", "-A", "trust", "--no-sync"], user)
        process = subprocess.Popen(
            [postgres, "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", directory, "-F"],
            stderr=subprocess.DEVNULL,
            env=SERVER_ENV,
            **user,
        )
        try:
            wait_until(lambda: answers(ask, port), process)
            yield port
        finally:
            process.send_signal(2)  # a fast shutdown: clients are thrown out
            process.wait()


def answers(pg_isready, port):
    """Say whether PostgreSQL takes queries.

    It listens some time before it does, and turns clients away until it has started.
    """
    question = [pg_isready, "--quiet", "--host=127.0.0.1", f"--port={port}"]
    return subprocess.run(question, env=SERVER_ENV, check=False).returncode == 0


def give_to_plain_user(directory):
    """Return Popen's arguments for a user without rights, who then owns the directory.

    PostgreSQL refuses to run as root. When the tests do not run as root, nothing changes.
    """
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next(known[name] for name in PLAIN_USERS if name in known)
    os.chown(directory, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "cwd": directory}


def run_quietly(command, user):
    """Run a program that must succeed, and show what it said only if it does not."""
    completed = subprocess.run(
        command, env=SERVER_ENV, capture_output=True, text=True, check=False, **user
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr


@contextlib.contextmanager
def python_program(*arguments, backend):
    """Run a Python program on one poller, and yield its process."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        env=os.environ | {"MEANTIME_BACKEND": backend},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parent,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
