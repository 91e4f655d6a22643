"""`meantime run`: a program, unchanged, on meantime's loop."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from meantime.cli.program import Program, ProgramError, from_code, from_module, from_path
from meantime.cli.reporting import STYLES, Reporting
from meantime.errors import BackendError
from meantime.loop import backend as backend_name
from meantime.loop.names import NAMES
from meantime.runner import install

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SUMMARY = "run a program on meantime's loop: a script, -m MODULE, or -c CODE"

OPTIONS_WITH_VALUE = ("--backend", "--report", "--report-json")
SOURCES: dict[str, Callable[[str], Program]] = {"-m": from_module, "-c": from_code}


def main(words: Sequence[str]) -> int:
    """Run a program as `python` would, with asyncio making meantime's loops.

    Raises:
        BaseException: whatever the program raised and did not catch, SystemExit included. The
            interpreter turns it into the exit status, as it does without meantime.
    """
    ours, theirs = split(words)
    options = make_parser().parse_args(ours)
    if not theirs:
        make_parser().error(
            "there is no program to run. Name a script, or use -m MODULE or -c CODE."
        )
    reporting = Reporting(options.report, options.report_json)
    if problem := reporting.check():
        make_parser().error(problem)
    if options.backend is not None:
        # By the environment, so that processes which the program starts have it too.
        os.environ["MEANTIME_BACKEND"] = options.backend
    try:
        backend_name()
        # Finding a module imports its packages, and they may make loops already.
        install()
        reporting.begin(" ".join(theirs[:2] if theirs[0] in SOURCES else theirs[:1]))
        program = load(theirs)
    except (BackendError, ValueError) as error:
        print(f"meantime: {error}", file=sys.stderr)
        return 1
    except ProgramError as error:
        print(f"meantime: {error}", file=sys.stderr)
        return error.exit_status
    program.run()
    return 0


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return our options, and the program with its arguments, which are not ours to read."""
    position = 0
    while position < len(words):
        word = words[position]
        if word == "--":
            return list(words[:position]), list(words[position + 1 :])
        if not word.startswith("-") or word[:2] in SOURCES:
            break
        position += 2 if word in OPTIONS_WITH_VALUE else 1
    return list(words[:position]), list(words[position:])


def load(words: Sequence[str]) -> Program:
    """Return the program that the words name, with its arguments.

    Raises:
        ProgramError: there is no such program.
    """
    first, *rest = words
    make = SOURCES.get(first[:2])
    if make is None:
        return from_path(first).with_arguments(rest)
    # As Python does, "-mjson.tool" means "-m json.tool".
    if len(first) > 2:
        return make(first[2:]).with_arguments(rest)
    if not rest:
        raise ProgramError(f"argument expected for the {first} option. Name what to run.", 2)
    return make(rest[0]).with_arguments(rest[1:])


def make_parser() -> argparse.ArgumentParser:
    """Return the parser for what stands before the program."""
    parser = argparse.ArgumentParser(
        prog="meantime run",
        usage="meantime run [OPTION ...] (SCRIPT | -m MODULE | -c CODE) [ARGUMENT ...]",
        description="Run a program as python does, with asyncio making meantime's loops. "
        "Everything after the program belongs to the program.",
    )
    parser.add_argument(
        "--backend",
        choices=NAMES,
        help="wait with this and nothing else (default: MEANTIME_BACKEND, or the best there is)",
    )
    parser.add_argument(
        "--report",
        choices=STYLES,
        help="what to print at the end, on standard error (default: short on a terminal, else off)",
    )
    parser.add_argument(
        "--report-json", metavar="FILE", help="write the whole report to a file, as JSON"
    )
    return parser
