"""The command line: `meantime run`, `meantime backend`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from meantime import __version__
from meantime.cli import backend, run

if TYPE_CHECKING:
    from collections.abc import Sequence

MAINS = {"run": run.main, "backend": backend.main}
SUMMARIES = {"run": run.SUMMARY, "backend": backend.SUMMARY}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, and return its exit status.

    Raises:
        SystemExit: the arguments are wrong (2), or the program that was run ended so.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # A command reads its own arguments. Those of `run` are mostly another program's, and argparse
    # would take options out of them.
    if words and words[0] in MAINS:
        return MAINS[words[0]](words[1:])
    make_parser().parse_args(words)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser for everything but the commands themselves."""
    parser = argparse.ArgumentParser(
        prog="meantime",
        description="A drop-in event loop for asyncio programs, on io_uring and epoll.",
        epilog="'meantime COMMAND --help' says more about a command.",
    )
    parser.add_argument("--version", action="version", version=f"meantime {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in SUMMARIES.items():
        commands.add_parser(name, help=summary)
    return parser
