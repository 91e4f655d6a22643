"""Faults on purpose: the system calls of the compiled core fail, or do less, by a plan.

    with Faults() as faults:
        refused = faults.plan("accept4", errno.EMFILE, times=3)
        ...
        assert refused.injected == 3

faults.c says how, and what is possible. A plan may also be a text, such as
``"recv:EINTR=1% sendmsg:SHORT=30%"``; the random run takes one from MEANTIME_FAULTS.
"""

import ctypes
import errno
import functools
import importlib
import pkgutil
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

import meantime._core

SHORT, SPURIOUS = -1, -2
SOURCE = Path(__file__).with_name("faults.c")
CALLS = [
    "recv",
    "recvmsg",
    "recvfrom",
    "read",
    "send",
    "sendmsg",
    "sendto",
    "write",
    "writev",
    "accept4",
    "connect",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "eventfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "mmap",
    "malloc",
    "calloc",
    "realloc",
]
ALWAYS_PPM = 1_000_000


class NoCompilerError(Exception):
    """The faults are written in C, and here is nothing that compiles it."""


@functools.cache
def library():
    """Compile faults.c and load it, once in a process.

    Raises:
        NoCompilerError: there is no C compiler.
    """
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
    compiler = shutil.which(compiler) or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoCompilerError("the faults need a C compiler: install gcc or clang")
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "faults.so"
        command = [compiler, "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run([*command, "-pthread", str(SOURCE), "-o", str(made)], check=True)
        loaded = ctypes.CDLL(str(made))
    loaded.faults_injected.restype = ctypes.c_ulong
    loaded.faults_seed.argtypes = [ctypes.c_uint64]
    loaded.faults_add.argtypes = [
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_long,
        ctypes.c_long,
        ctypes.c_int,
    ]
    return loaded


@functools.cache
def core_modules():
    """Return the path of each compiled module of the core, as the loader knows it."""
    names = pkgutil.walk_packages(meantime._core.__path__, "meantime._core.")
    modules = [importlib.import_module(found.name) for found in names if not found.ispkg]
    return [module.__file__ for module in modules]


@dataclass
class Rule:
    """One line of the plan: which call does what, how often."""

    call: str
    fault: int
    number: int

    @property
    def injected(self):
        """How many times it has happened so far."""
        return library().faults_injected(self.number)

    @property
    def name(self):
        words = {SHORT: "SHORT", SPURIOUS: "SPURIOUS"}
        return f"{self.call}:{words.get(self.fault) or errno.errorcode[self.fault]}"


class Faults:
    """A plan, and the modules that it is for: those of the core, and others if they are named."""

    def __init__(self, *others):
        self.rules = []
        self.others = [sys.modules[name].__file__ for name in others]
        self.names = []  # the library keeps the address of each call's name only

    def __enter__(self):
        for path in [*core_modules(), *self.others]:
            if not library().faults_attach(path.encode()):
                raise RuntimeError(f"{path} is not among the loaded objects")
        return self

    def __exit__(self, *_):
        self.clear()
        library().faults_detach()

    def clear(self):
        """Plan nothing from now on. What was counted is forgotten."""
        library().faults_clear()
        self.rules.clear()
        self.names.clear()

    def seed(self, number):
        """Set the dice: the same calls then meet the same faults."""
        library().faults_seed(number)

    def plan(self, call, fault, *, chance=1.0, after=0, times=-1, fd=-1):
        """Let `call` meet `fault`: an errno, SHORT (less is done), or SPURIOUS.

        Args:
            chance: of each call, from 0 to 1.
            after: how many calls are spared first.
            times: how often in all; -1 without a bound.
            fd: only for this descriptor; -1 for all.
        """
        if call not in CALLS:
            raise ValueError(f"{call!r} cannot fail on purpose. Use one of: {', '.join(CALLS)}.")
        name = call.encode()
        self.names.append(name)
        ppm = round(chance * ALWAYS_PPM)
        number = library().faults_add(name, fault, ppm, after, times, fd)
        if number < 0:
            raise ValueError("the plan is too long: raise RULES_MAX in plan.h")
        rule = Rule(call, fault, number)
        self.rules.append(rule)
        return rule

    def plan_text(self, text):
        """Add what a text says, such as ``"recv:EINTR=1% accept4:EMFILE=0.1%"``."""
        words = {"SHORT": SHORT, "SPURIOUS": SPURIOUS}
        for entry in text.split():
            what, _, chance = entry.partition("=")
            call, _, fault = what.partition(":")
            number = words[fault] if fault in words else getattr(errno, fault)
            self.plan(call, number, chance=float(chance.removesuffix("%")) / 100)

    def counts(self):
        """Return how often each fault was injected, by its name."""
        return {rule.name: rule.injected for rule in self.rules}
