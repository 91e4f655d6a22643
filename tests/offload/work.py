"""Functions for workers to run. They stand in a module, so that a worker can import them.

It does not import meantime, which would make each new worker slow.
"""

import contextvars
import os
import signal
import sys
import time
from pathlib import Path

REQUEST = contextvars.ContextVar("REQUEST", default="no request")


def double(number):
    return 2 * number


def who_and_what(*args, **keywords):
    return os.getpid(), args, keywords


def spin():
    while True:
        pass


def spin_after(path):
    """Write down who we are, and work for ever."""
    Path(path).write_text(str(os.getpid()))
    spin()


def sleep_and_tell(seconds, value):
    time.sleep(seconds)
    return value


def sleep_in_child(path):
    """Start a process, write down who it is, and wait for it."""
    pid = os.fork()
    if pid == 0:
        while True:
            time.sleep(60)
    Path(path).write_text(str(pid))
    os.waitpid(pid, 0)


def request():
    return REQUEST.get()


def divide(one, other):
    return one / other


def die_of(number):
    os.kill(os.getpid(), number)


def read_nothing():
    """Crash as compiled code does."""
    import ctypes

    ctypes.string_at(0)


def exit_at_once():
    os._exit(3)


def exit_politely():
    sys.exit(4)


def close_everything():
    os.closerange(3, 1000)
    return "done"


def ignore_everything():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    spin()


class AwkwardError(Exception):
    """An exception that cannot be made again from what it is pickled as."""

    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")


def raise_awkward():
    raise AwkwardError(1, 2)


def raise_cancelled():
    import asyncio

    raise asyncio.CancelledError


def spin_if(spins):
    if spins:
        spin()
