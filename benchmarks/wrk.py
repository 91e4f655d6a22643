"""What the questions about HTTP share: the client, which is wrk.

wrk keeps its connections and asks on each as soon as it was answered. It measures whole seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import shutil
import subprocess
from time import monotonic, process_time

from harness import UnavailableError, command_line, on_client_core, report
from network import HERE, StartServer, Words, serve

HELLO = b"Hello, World!"
SILENCE_S_MAX = 5


def find_wrk() -> str:
    """Return the path of wrk.

    Raises:
        UnavailableError: it is not installed.
    """
    if found := shutil.which("wrk"):
        return found
    raise UnavailableError("wrk is not installed (Debian: apt-get install wrk)")


def check_and_warm_up(port: int, warm_up_s: float) -> None:
    """Ask on one connection for a while, and see that each answer is the right one.

    Raises:
        RuntimeError: an answer is not a good one, or has no hello in it.
    """
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=SILENCE_S_MAX)
    end_s = monotonic() + warm_up_s
    with contextlib.closing(client):
        while True:
            client.request("GET", "/")
            answer = client.getresponse()
            body = answer.read()
            if answer.status != http.HTTPStatus.OK or HELLO not in body:
                raise RuntimeError(f"the server answered {answer.status} with {body[:60]!r}")
            if monotonic() >= end_s:
                return


def run_wrk(wrk: str, port: int, options: argparse.Namespace) -> dict[str, float]:
    """Run wrk beside the server, and return its figures and this process's time for a request.

    Raises:
        RuntimeError: wrk failed, or some of its requests did.
    """
    seconds = max(1, round(options.seconds))
    command = [wrk, "-t1", f"-c{options.connections}", f"-d{seconds}s"]
    command += ["-s", str(HERE / "wrk.lua"), f"http://127.0.0.1:{port}/"]
    with on_client_core():
        spent_s = process_time()
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + 30, check=False
        )
        spent_s = process_time() - spent_s
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"wrk ended with {done.returncode}")
    said = json.loads(done.stderr.splitlines()[-1])
    if said["bad_statuses"] or said["broken"] or not said["requests"]:
        raise RuntimeError(f"wrk met errors: {said}")
    return {
        "per_second": said["requests"] * 1e6 / said["duration_us"],
        "p50_us": said["p50_us"],
        "p99_us": said["p99_us"],
        "server_cpu_us": spent_s * 1e6 / said["requests"],
        "server_cpu_share": spent_s * 1e6 / said["duration_us"],
    }


def ask_wrk(description: str | None, start: StartServer) -> None:
    """Run a question whose client is wrk, and print its answer."""
    parser = command_line(description)
    parser.add_argument("--connections", type=int, default=10)
    options = parser.parse_args()
    wrk = find_wrk()

    def work(target: Words, _pid: int) -> dict[str, float]:
        port = int(target[1])
        check_and_warm_up(port, options.warm_up)
        return run_wrk(wrk, port, options)

    report(options.loop, **serve(options.loop, "tcp", start, work))
