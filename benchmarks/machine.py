"""On what the figures were made: processor, kernel, Python, compiler, and who else was busy."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sysconfig
from datetime import UTC, datetime
from pathlib import Path

LOAD_MAX = 0.5
"""With more than this many other programs wanting to run, figures are not to be trusted."""


def processor() -> str:
    """Return the name of the processor as the kernel knows it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def python() -> str:
    """Return Python's version, and whether its build was guided by a profile."""
    flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
    profile = "with" if "--enable-optimizations" in flags else "without"
    threads = ", free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    name = f"{platform.python_implementation()} {platform.python_version()}{threads}"
    return f"{name} ({platform.python_compiler()}, {profile} profile-guided optimization)"


def compiler() -> str:
    """Return the version of the compiler of the client and the server written in C."""
    command = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if command is None:
        return "none"
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


def describe() -> dict[str, str]:
    """Return what is worth knowing about this machine, as named lines of text."""
    cores = len(os.sched_getaffinity(0))
    placing = "server and client on one core each" if cores > 1 else "server and client share it"
    return {
        "processor": f"{processor()}, {cores} usable core{'s' if cores > 1 else ''}: {placing}",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": python(),
        "C compiler": compiler(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }
