"""The process in which fuzzed programs run. Started by `python -m tests.fuzz`, which reads its end.

It may not signal or start processes: a fuzzed argument could be taken for a process's number.
"""

import argparse
import ctypes
import faulthandler
import fcntl
import gc
import json
import logging
import os
import platform
import random
import resource
import struct
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed

from tests.fuzz import machine, programs

# See seccomp(2); the numbers are those of the two machines that the project is built for.
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
REFUSED = {
    "x86_64": (62, 200, 424, 59, 322),  # kill, tkill, pidfd_send_signal, execve, execveat
    "aarch64": (129, 130, 424, 221, 281),
}
OWN_FD_MIN = 900
DESCRIPTORS_MAX = 1024
PROGRAMS_PER_BATCH = 100
VARIANTS = 15


class TimeIsUpError(BaseException):
    """The child has run for as long as it was told to."""


def refuse_to_harm_others():
    """Have the kernel refuse signals to processes, and new programs."""
    machine_name = platform.machine()
    calls = REFUSED[machine_name]
    load, equal, answer, allow, eperm = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050001
    steps = [(load, 0, 0, 4), (equal, 1, 0, AUDIT_ARCH[machine_name]), (answer, 0, 0, allow)]
    steps.append((load, 0, 0, 0))
    for index, call in enumerate(calls):
        steps.append((equal, len(calls) - index, 0, call))
    steps += [(answer, 0, 0, allow), (answer, 0, 0, eperm)]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("@HP", len(steps), ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)
    if libc.prctl(22, 2, ctypes.create_string_buffer(head, len(head)), 0, 0):
        sys.exit("this process may not install a seccomp filter, and without it will not fuzz")
    try:
        os.kill(os.getpid(), 0)
    except PermissionError:
        return
    sys.exit("the seccomp filter does not work")


class Notes:
    """The record that outlives a crash: the program that runs now, and at the end the report."""

    def __init__(self, path):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
        # Out of the way of the numbers that programs use.
        self.fd = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, OWN_FD_MIN)
        os.close(opened)
        self.programs = self.steps = self.returned = 0
        self.called = set()

    def write(self, **noted):
        line = json.dumps(noted).encode() + b"\n"
        os.pwrite(self.fd, line, 0)
        os.ftruncate(self.fd, len(line))

    def report(self):
        self.write(
            report={
                "programs": self.programs,
                "steps": self.steps,
                "returned": self.returned,
                "called": sorted(self.called),
            }
        )


class Runner:
    """Runs programs until the time is up."""

    def __init__(self, notes, until, seed):
        self.notes, self.until = notes, until
        self.dice = random.Random(seed)
        self.scratch_file = tempfile.TemporaryFile()  # noqa: SIM115  as long as the process

    def run(self, program):
        if time.monotonic() > self.until:
            raise TimeIsUpError
        self.notes.write(program=program)
        called, returned = machine.run(program, self.scratch_file)
        self.notes.called |= called
        self.notes.returned += returned
        self.notes.programs += 1
        self.notes.steps += len(program[1])
        if self.notes.programs % 50 == 0:
            gc.collect()

    def variants(self, backend, steps, mischief):
        """Yield a program, and others of the same steps in other orders.

        Drawing a program takes far longer than running it.
        """
        yield [backend, steps, mischief]
        for _ in range(VARIANTS):
            mixed = [*steps, *mischief]
            self.dice.shuffle(mixed)
            yield [backend, mixed[: len(steps)], mixed[len(steps) :]]

    def batch(self, strategy, count, seed):
        @with_seed(seed)
        @settings(
            max_examples=count,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def go(drawn):
            # A sweep is many programs, of which each begins with the name of a poller.
            for program in drawn if isinstance(drawn[0], list) else self.variants(*drawn):
                self.run(program)

        go()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", help="the file to note programs in")
    parser.add_argument("folder", help="where programs may make files")
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backends", default="io_uring,epoll")
    parser.add_argument("--replay")
    arguments = parser.parse_args()
    errors = os.fdopen(fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, OWN_FD_MIN), "w")
    faulthandler.enable(errors)
    sys.unraisablehook = lambda _unraisable: None
    logging.disable()
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS_MAX, DESCRIPTORS_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    notes = Notes(arguments.record)
    program = json.loads(Path(arguments.replay).read_text()) if arguments.replay else None
    os.chdir(arguments.folder)
    refuse_to_harm_others()
    # Collecting is a frequent step; what hypothesis and Python consist of need not be looked at.
    gc.collect()
    gc.freeze()
    if program is not None:
        Runner(notes, time.monotonic() + 60, 0).run(program)
        gc.collect()
        return
    runner = Runner(notes, time.monotonic() + arguments.seconds, arguments.seed)
    backends = arguments.backends.split(",")
    seed = arguments.seed * 1_000_000
    try:
        runner.batch(programs.sweeps(backends), 6, seed)
        while True:
            seed += 1
            runner.batch(programs.programs(backends), PROGRAMS_PER_BATCH, seed)
            runner.batch(programs.sweeps(backends), 1, seed)
    except TimeIsUpError:
        pass
    gc.collect()
    notes.report()


if __name__ == "__main__":
    main()
