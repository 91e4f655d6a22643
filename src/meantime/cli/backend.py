"""`meantime backend`: what waits for events on this machine."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from meantime.errors import BackendError
from meantime.loop import backend as backend_name

if TYPE_CHECKING:
    from collections.abc import Sequence

SUMMARY = "print which backend a new loop gets, and why"


def main(words: Sequence[str]) -> int:
    """Print the backend and return 0, or print why there is none and return 1."""
    parser = argparse.ArgumentParser(
        prog="meantime backend",
        description="Print io_uring or epoll, and the reason when it is not the first choice.",
    )
    parser.parse_args(words)
    try:
        print(backend_name())
    except (BackendError, ValueError) as error:
        print(f"meantime: {error}", file=sys.stderr)
        return 1
    return 0
