"""What every test gets: a loop on each poller, and a check that the test cleaned up.

``backend`` names each poller in turn, ``loop`` is a fresh event loop on it, and ``any_loop`` is
asyncio's own as well. Whatever a test opened,
started or scheduled must be gone when it ends: a descriptor, thread or task that stays is an error
of that test, not of a later one.
"""

import asyncio
import functools
import gc
import logging
import os
import threading
import time
from pathlib import Path

import pytest

import meantime
from meantime._core import counters
from tests.ecosystem.servers import postgres_server

# Threads that may outlive a test, by the start of their name.
LASTING_THREADS = ("pytest_timeout",)


@functools.cache
def why_unavailable(backend):
    """Return why this machine has no such poller, or None where it has."""
    try:
        meantime.EventLoop(backend=backend).close()
    except meantime.BackendError as refusal:
        return str(refusal)
    return None


@pytest.fixture(params=["io_uring", "epoll"])
def backend(request):
    """Each poller this machine has. The same promises are asked of both."""
    reason = why_unavailable(request.param)
    if reason is not None:
        pytest.skip(reason)
    return request.param


@pytest.fixture
def loop(backend):
    """A fresh event loop on each poller, closed at the end."""
    loop = meantime.EventLoop(backend=backend)
    yield loop
    if not loop.is_closed():
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.fixture(params=["asyncio", "io_uring", "epoll"])
def any_loop(request):
    """asyncio's own loop and ours: what a test says of this one is asyncio's promise too."""
    if request.param == "asyncio":
        loop = asyncio.SelectorEventLoop()
    else:
        try:
            loop = meantime.EventLoop(backend=request.param)
        except meantime.BackendError as refusal:
            pytest.skip(str(refusal))
    yield loop
    if not loop.is_closed():
        # A generator that the test left would else be closed by whenever the collector finds it.
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.fixture(autouse=True, scope="module")
def what_is_imported_is_not_searched():
    """Keep what is alive already out of the searches below, which each test would pay for."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_is_left(request, caplog):
    """Fail a test that leaves a descriptor, a thread or a task behind."""
    fds_before, threads_before = open_descriptors(), set(threading.enumerate())
    counts_before = counters.read()
    yield
    if counts_before is not None:
        # pytest itself would keep the test's loop, and the handles that were logged, until later.
        request.node.funcargs.clear()
        for when in ("setup", "call", "teardown"):
            caplog.get_records(when).clear()
        for handler in logging.getLogger().handlers:
            getattr(handler, "records", []).clear()
    # A thread that has been told to end, or a child's pipe, may need a moment more.
    give_up_at = time.monotonic() + 2.0
    while left := what_is_left(fds_before, threads_before) + what_is_alive(counts_before):
        if time.monotonic() > give_up_at:
            pytest.fail("the test left behind: " + "; ".join(left), pytrace=False)
        gc.collect()
        time.sleep(0.01)


def open_descriptors():
    """Return what each open descriptor of this process refers to."""
    descriptors = {}
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208  Path would open more descriptors
        try:
            descriptors[int(entry)] = str(Path(f"/proc/self/fd/{entry}").readlink())
        except FileNotFoundError:
            pass  # the descriptor of this very listing
    return descriptors


def what_is_left(fds_before, threads_before):
    """Return one phrase for each descriptor, thread and task that was not there before."""
    left = [
        f"descriptor {fd} ({target})"
        for fd, target in open_descriptors().items()
        if fds_before.get(fd) != target
    ]
    left += [
        f"thread {thread.name}"
        for thread in threading.enumerate()
        if thread not in threads_before and not thread.name.startswith(LASTING_THREADS)
    ]
    left += [
        f"task {task!r}"
        for task in gc.get_objects()
        if type(task) is asyncio.Task and not task.done()
    ]
    return left


def what_is_alive(counts_before):
    """Return one phrase for each kind of thing in the core of which there are more than before.

    Only a build made for it counts; see `make test-debug`.
    """
    if counts_before is None:
        return []
    return [
        f"{count - counts_before[kind]} {kind} in the core"
        for kind, count in counters.read().items()
        if count != counts_before[kind]
    ]


@pytest.fixture(scope="session")
def postgres_port():
    with postgres_server() as port:
        yield port
