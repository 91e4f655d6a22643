"""What goes wrong is a clear error of the job that it concerns, and of no other."""

import asyncio
import os
import pickle
import signal
import threading
import time
from pathlib import Path

import pytest

import meantime
from meantime.offload.pool import POOL
from meantime.offload.workers import GONE_WAIT_S
from tests.offload import work

pytestmark = pytest.mark.slow  # each test starts processes


@pytest.mark.parametrize(
    ("function", "arguments", "exitcode", "words"),
    [
        (work.exit_at_once, (), 3, "ended with exit status 3"),
        (work.exit_politely, (), 4, "ended with exit status 4"),
        (work.die_of, (signal.SIGKILL,), -signal.SIGKILL, "memory ran out"),
        (work.die_of, (signal.SIGTERM,), -signal.SIGTERM, "SIGTERM"),
        (work.read_nothing, (), -signal.SIGSEGV, "in read_nothing"),
    ],
)
def test_a_worker_that_dies_is_an_error_of_its_job_alone(
    any_loop, function, arguments, exitcode, words
):
    async def main():
        limiter = meantime.CapacityLimiter(2)
        other = asyncio.ensure_future(
            meantime.to_process(work.sleep_and_tell, 0.5, "well", limiter=limiter)
        )
        with pytest.raises(meantime.WorkerDiedError, match=words) as caught:
            await meantime.to_process(function, *arguments, limiter=limiter)
        assert caught.value.exitcode == exitcode
        assert function.__qualname__ in str(caught.value)
        return await other, await meantime.to_process(work.double, 4, limiter=limiter)

    assert any_loop.run_until_complete(main()) == ("well", 8)


def test_how_a_worker_died_is_told_by_a_machine_that_is_too_busy_to_say_so_at_once(any_loop):
    async def main():
        assert await meantime.to_process(work.double, 4) == 8
        nursery = POOL.parent.process.pid
        # Longer than an error waits for a process to be gone, twice.
        goes_on = threading.Timer(2 * GONE_WAIT_S + 0.5, os.kill, (nursery, signal.SIGCONT))
        goes_on.start()
        os.kill(nursery, signal.SIGSTOP)
        try:
            with pytest.raises(meantime.WorkerDiedError, match="memory ran out"):
                await meantime.to_process(work.die_of, signal.SIGKILL)
        finally:
            goes_on.join()

    any_loop.run_until_complete(main())


def test_a_job_that_closes_its_workers_descriptors_is_told_so(any_loop):
    with pytest.raises(meantime.WorkerDiedError):
        any_loop.run_until_complete(meantime.to_process(work.close_everything))
    assert any_loop.run_until_complete(meantime.to_process(work.double, 4)) == 8


def test_a_worker_that_dies_while_idle_concerns_nobody(any_loop):
    any_loop.run_until_complete(meantime.to_process(work.double, 4))
    (worker,) = POOL.idle
    os.kill(worker.pid, signal.SIGKILL)
    while worker.is_fresh():
        time.sleep(0.001)
    assert any_loop.run_until_complete(meantime.to_process(work.double, 4)) == 8


def test_a_nursery_that_is_killed_concerns_nobody(any_loop, tmp_path):
    async def main():
        limiter = meantime.CapacityLimiter(2)
        job = asyncio.ensure_future(
            meantime.to_process(work.spin_after, tmp_path / "pid", limiter=limiter)
        )
        while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
            await asyncio.sleep(0.005)
        other = asyncio.ensure_future(
            meantime.to_process(work.sleep_and_tell, 0.3, "well", limiter=limiter)
        )
        while len([worker for worker in POOL.busy if worker.pid]) < 2:
            await asyncio.sleep(0.005)
        POOL.parent.process.kill()
        POOL.parent.process.wait()
        assert await other == "well"
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        pid = int((tmp_path / "pid").read_text())
        give_up_at = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists() and time.monotonic() < give_up_at:
            await asyncio.sleep(0.005)
        assert not Path(f"/proc/{pid}").exists()
        with pytest.raises(meantime.WorkerDiedError):
            await meantime.to_process(work.exit_at_once, limiter=limiter)
        return await asyncio.gather(
            *(meantime.to_process(work.double, number, limiter=limiter) for number in range(4))
        )

    assert any_loop.run_until_complete(main()) == [0, 2, 4, 6]


def test_signals_that_a_job_ignores_do_not_save_it(any_loop):
    with pytest.raises(TimeoutError):
        any_loop.run_until_complete(meantime.to_process(work.ignore_everything, timeout=0.1))


def test_arguments_that_cannot_be_pickled_are_refused_with_advice(any_loop):
    with pytest.raises(pickle.PicklingError, match="Pass plain data") as caught:
        any_loop.run_until_complete(meantime.to_process(work.double, threading.Lock()))
    assert "double cannot be sent" in str(caught.value)
    assert not POOL.idle, "no process was started for it"


def test_an_open_file_is_refused(any_loop, tmp_path):
    """cloudpickle would send what it holds."""
    with (tmp_path / "file").open("w") as file, pytest.raises(pickle.PicklingError):
        any_loop.run_until_complete(meantime.to_process(work.double, file))


def test_a_result_that_cannot_be_pickled_is_an_error_with_advice(any_loop):
    with pytest.raises(pickle.PicklingError, match="its result cannot be sent back") as caught:
        any_loop.run_until_complete(meantime.to_process(threading.Lock))
    assert "Return plain data" in str(caught.value)
    assert any_loop.run_until_complete(meantime.to_process(work.double, 4)) == 8


def test_a_module_that_the_worker_does_not_find_is_an_error_with_advice(any_loop, tmp_path):
    import sys

    sys.path.insert(0, str(tmp_path))
    (tmp_path / "soon_gone.py").write_text("def answer():\n    return 42\n")
    import soon_gone

    sys.path.remove(str(tmp_path))
    try:
        with pytest.raises(ModuleNotFoundError) as caught:
            any_loop.run_until_complete(meantime.to_process(soon_gone.answer))
    finally:
        del sys.modules["soon_gone"]
    assert "sys.path" in str(caught.value.__notes__)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"where": "moon"}, ValueError, "no place to run"),
        ({"where": 3}, TypeError, "takes 'thread'"),
        ({"timeout": 0}, ValueError, "seconds above zero"),
    ],
)
def test_options_that_mean_nothing_are_refused_at_once(options, error, words):
    with pytest.raises(error, match=words):
        meantime.offload(work.double, 1, **options)
    with pytest.raises(error, match=words):
        meantime.offload(**options)


def test_what_is_no_plain_function_is_refused_at_once():
    async def coroutine_function():
        pass

    with pytest.raises(TypeError, match="coroutine function"):
        meantime.to_process(coroutine_function)
    with pytest.raises(TypeError, match="Do not call it yourself"):
        meantime.to_process(42)


def test_a_worker_without_the_python_that_it_needs_is_an_error_and_not_a_hang(
    any_loop, monkeypatch
):
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(meantime.WorkerDiedError, match="exit status 1"):
        any_loop.run_until_complete(meantime.to_process(work.double, 4))
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError):
        any_loop.run_until_complete(meantime.to_process(work.double, 4))


def test_without_cloudpickle_the_error_says_what_to_install(any_loop, monkeypatch):
    import sys

    from meantime.offload import pickles

    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    pickles.full_pickler.cache_clear()
    try:
        with pytest.raises(pickle.PicklingError, match="pip install cloudpickle"):
            any_loop.run_until_complete(meantime.to_process(lambda: 1))
    finally:
        pickles.full_pickler.cache_clear()


def test_running_out_of_descriptors_is_an_error_and_leaves_none_open(any_loop):
    import resource

    from tests.offload.conftest import open_fd_count

    any_loop.run_until_complete(asyncio.sleep(0))  # it has all its own descriptors now
    before = open_fd_count()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 4, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            any_loop.run_until_complete(meantime.to_process(work.double, 4))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    meantime.stop_workers()
    assert open_fd_count() == before
    assert any_loop.run_until_complete(meantime.to_process(work.double, 4)) == 8
