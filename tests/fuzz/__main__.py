"""Fuzz the compiled modules: no arguments, in no order, may crash the process or hang it.

    python -m tests.fuzz --seconds 60 --seed 7

Programs are run in child processes. What ended one is written to build/fuzz, made as small as it
gets, and can be run again:

    python -m tests.fuzz --replay build/fuzz/crash-1.json
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import meantime
from tests.fuzz import discovery

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build" / "fuzz"
# A program is cut off after a moment; a child that is silent for so long hangs in compiled code.
SILENT_S_MAX = 40
BACKENDS = ("io_uring", "epoll")


class Child:
    """A process that runs programs, and notes each before it does.

    Given a program, it runs that one alone.
    """

    def __init__(self, *arguments, program=None):
        # Not below our own folder, because the name of a Unix socket must be short.
        self.folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self.record, self.errors, files = (
            Path(self.folder.name, name) for name in ("record", "errors", "files")
        )
        self.record.write_bytes(b"")
        files.mkdir()
        if program is not None:
            replayed = Path(self.folder.name, "program.json")
            replayed.write_text(json.dumps(program))
            arguments = ("--replay", str(replayed))
        # The fuzzer's own settings must not leak in: a test run makes warnings errors.
        environment = {**os.environ, "PYTHONFAULTHANDLER": "", "PYTHONWARNINGS": "ignore"}
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.fuzz.child",
                    str(self.record),
                    str(files),
                    *arguments,
                ],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=errors,
                stdout=errors,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def wait(self):
        """Wait for the end. Returns None, or what went wrong in words."""
        noted, noted_at = None, time.monotonic()
        while self.process.poll() is None:
            time.sleep(0.05)
            progress = self.record.stat().st_mtime_ns
            if progress != noted:
                noted, noted_at = progress, time.monotonic()
            if time.monotonic() - noted_at > SILENT_S_MAX:
                self.process.send_signal(signal.SIGABRT)
                self.process.wait()
                return f"hung for {SILENT_S_MAX} s"
        if self.process.returncode == 0:
            return None
        code = self.process.returncode
        return f"died of {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

    def last_program(self):
        """Return the program that ran at the end, or None."""
        for line in reversed(self.record.read_text().splitlines()):
            noted = json.loads(line)
            if "program" in noted:
                return noted["program"]
        return None

    def report(self):
        """Return what a child that came to its end has to say."""
        return json.loads(self.record.read_text().splitlines()[-1])["report"]


def crash_of(program, repeats=3):
    """Run one program in a child of its own. Returns what went wrong, or None."""
    for _ in range(repeats):
        with Child(program=program) as child:
            if trouble := child.wait():
                return trouble
    return None


def smallest(program):
    """Return a program that crashes as this one does, without the steps that it can do without."""
    backend, steps, mischief = program
    for part in (steps, mischief):
        index = 0
        while index < len(part):
            removed = part.pop(index)
            if crash_of([backend, steps, mischief]) is None:
                part.insert(index, removed)
                index += 1
    return [backend, steps, mischief]


def note_crash(number, child, trouble):
    """Write down a crash. Returns what to tell the user."""
    lines = [f"crash {number}: the child {trouble}"]
    program = child.last_program()
    said = child.errors.read_text(errors="replace")
    if program is None:
        return "\n".join([*lines, "before its first program:", said])
    if crash_of(program) is None:
        lines.append("its last program alone does not crash; it is kept as it was")
    else:
        program = smallest(program)
    path = RESULTS / f"crash-{number}.json"
    path.write_text(json.dumps(program, indent=1))
    lines += [said[-4000:], json.dumps(program)]
    lines.append(f"run it again: python -m tests.fuzz --replay {path.relative_to(ROOT)}")
    return "\n".join(lines)


def fuzz(seconds, seed, backends, crashes_max):
    """Fuzz for so long. Returns the sum of the children's reports, and the crashes in words."""
    until = time.monotonic() + seconds
    total = {"programs": 0, "steps": 0, "returned": 0, "called": set()}
    crashes = []
    while (left := until - time.monotonic()) > 0 and len(crashes) < crashes_max:
        spent = ("--seconds", f"{min(left, 60):.2f}", "--seed", str(seed))
        with Child(*spent, "--backends", ",".join(backends)) as child:
            if trouble := child.wait():
                crashes.append(note_crash(len(crashes) + 1, child, f"{trouble}, seed {seed}"))
                print(crashes[-1], flush=True)
            else:
                add_up(total, child.report())
        seed += 1
    return total, crashes


def add_up(total, report):
    for counted in ("programs", "steps", "returned"):
        total[counted] += report[counted]
    total["called"] |= set(map(tuple, report["called"]))


def usable(backend):
    try:
        meantime.EventLoop(backend=backend).close()
    except meantime.BackendError:
        return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30, help="for how long (30)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the dice")
    parser.add_argument("--backend", choices=BACKENDS, help="only this poller")
    parser.add_argument("--crashes", type=int, default=5, help="stop after so many (5)")
    parser.add_argument("--replay", help="run the program in this file once more")
    arguments = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    if arguments.replay:
        with Child(program=json.loads(Path(arguments.replay).read_text())) as child:
            trouble = child.wait()
            print(child.errors.read_text(errors="replace"))
        sys.exit(f"the child {trouble}" if trouble else 0)
    backends = [arguments.backend] if arguments.backend else [*filter(usable, BACKENDS)]
    print(f"fuzzing for {arguments.seconds:g} s, seed {arguments.seed}, {backends}", flush=True)
    total, crashes = fuzz(arguments.seconds, arguments.seed, backends, arguments.crashes)
    wanted = set(discovery.targets())
    called = len(total["called"])
    print(
        f"{total['programs']} programs, {total['steps']} steps, {total['returned']} of them with "
        f"no exception; called {called} of {len(wanted)} names in {len(discovery.classes())} "
        f"classes; {len(crashes)} crashes"
    )
    missed = wanted - total["called"]
    if missed and not crashes:
        sys.exit(f"never called, for lack of time: {sorted(missed)}")
    sys.exit(1 if crashes else 0)


if __name__ == "__main__":
    main()
