"""How much memory does a connection hold that has been used once and is idle now?

The growth of the server's resident memory from its first connections, one in fifty, to all of
them, for each connection. The kernel's buffers are not in it. Each process raises its limit of
open files as far as it may.
"""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

from echo_tcp import start_protocol
from harness import report
from network import Words, loadgen_command, network_command_line, serve

FIRST_PART = 1 / 50
"""What a loop allocates once, for all connections, is there after this part of them."""

SPARE_DESCRIPTORS = 100


def memory_bytes(pid: int) -> dict[str, int]:
    """Return the resident (`Rss`) and the proportional (`Pss`) memory of a process.

    The proportional one also changes when another process begins or ends that shares a library,
    so it is only reported.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    fields = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return {name: fields[name] for name in ("Rss", "Pss")}


def hold(client: subprocess.Popen[str], connections: int) -> None:
    """Let the client open connections until it holds so many."""
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(f"{connections}\n")
    client.stdin.flush()
    if client.stdout.readline() != f"held {connections}\n":
        assert client.stderr is not None
        raise RuntimeError(client.stderr.read().strip())


def allowed(connections: int) -> int:
    """Return how many connections the limit of open files leaves, after raising that limit."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return min(connections, most - SPARE_DESCRIPTORS)


def main() -> None:
    parser = network_command_line(__doc__)
    parser.set_defaults(connections=5000)
    options = parser.parse_args()
    total = max(allowed(options.connections), 2)
    first = max(int(total * FIRST_PART), 1)

    def work(target: Words, server_pid: int) -> dict[str, float]:
        command = loadgen_command(target, "--mode", "hold", "--connections", total)
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as client:
            hold(client, first)
            before = memory_bytes(server_pid)
            hold(client, total)
            after = memory_bytes(server_pid)
        grown = {name: (after[name] - before[name]) / (total - first) for name in after}
        return {"bytes": grown["Rss"], "pss_bytes": grown["Pss"], "connections": total}

    report(options.loop, **serve(options.loop, "tcp", start_protocol, work))


if __name__ == "__main__":
    main()
