"""Every test of offload also ends its workers, and fails if a process or shared memory is left."""

import gc
import os
from pathlib import Path

import psutil
import pytest

import meantime


@pytest.fixture(autouse=True)
def no_worker_is_left():
    before = children()
    yield
    meantime.stop_workers()
    gc.collect()
    assert children() <= before, "a process is left"
    assert not shared_memory(), "a mapping of shared memory is left"


def children():
    """Return the process ids of this process's children, zombies included."""
    return {child.pid for child in psutil.Process().children()}


def shared_memory():
    """Return this process's mappings of shared memory that offload has made."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in maps if "memfd:meantime-offload" in line]


def open_fd_count():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  Path would open more descriptors
