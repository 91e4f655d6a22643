"""A call in a worker process."""

import asyncio
import functools
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import meantime
from meantime.offload.pool import POOL
from tests.offload import reporting, work

pytestmark = pytest.mark.slow  # each test starts processes


def run_program(text, *arguments, **options):
    """Run a script, whose functions are those of its main file."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(text), *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        **options,
    )


def test_a_function_runs_in_another_process_with_its_arguments(any_loop):
    pid, args, keywords = any_loop.run_until_complete(
        meantime.to_process(work.who_and_what, 1, [2], three={"four": 5})
    )
    assert pid != os.getpid()
    assert (args, keywords) == ((1, [2]), {"three": {"four": 5}})


def test_uvloop_can_offload_too():
    pytest.importorskip("uvloop")
    done = run_program(
        """
        import asyncio, os, uvloop, meantime

        async def main():
            print(await meantime.to_process(abs, -42))
            try:
                await meantime.to_process(os._exit, 3)
            except meantime.WorkerDiedError as error:
                print(error.exitcode)

        loop = uvloop.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        """
    )
    assert (done.stdout, done.stderr) == ("42\n3\n", "")


def test_a_worker_is_kept_for_the_next_call_also_on_another_loop(any_loop, loop):
    first, *_ = any_loop.run_until_complete(meantime.to_process(work.who_and_what))
    second, *_ = any_loop.run_until_complete(meantime.to_process(work.who_and_what))
    third, *_ = loop.run_until_complete(meantime.to_process(work.who_and_what))
    assert first == second == third


def test_lambdas_and_closures_work(any_loop):
    ten = 10

    async def main():
        return await meantime.to_process(lambda number: number + ten, 5)

    assert any_loop.run_until_complete(main()) == 15


def test_functions_and_classes_of_the_main_file_work_without_a_guard():
    """A script is not imported again, so it needs no `if __name__ == "__main__"`."""
    done = run_program(
        """
        import meantime

        class Point:
            def __init__(self, x):
                self.x = x

        class OwnError(Exception):
            pass

        def moved(point):
            if point.x < 0:
                raise OwnError("negative")
            return Point(point.x + 1)

        async def main():
            point = await meantime.to_process(moved, Point(1))
            print(point.x, type(point) is Point)
            try:
                await meantime.to_process(moved, Point(-1))
            except OwnError as error:
                print("caught", error)

        meantime.run(main())
        """
    )
    assert (done.stdout, done.stderr) == ("2 True\ncaught negative\n", "")


def test_an_exception_comes_back_with_the_traceback_of_the_worker(any_loop):
    with pytest.raises(ZeroDivisionError) as caught:
        any_loop.run_until_complete(meantime.to_process(work.divide, 1, 0))
    told = str(caught.value.__cause__)
    assert "work.py" in told
    assert "return one / other" in told
    assert "calls.py" not in told, "our own frames are of no interest"


def test_an_exception_that_cannot_travel_still_tells_what_happened(any_loop):
    with pytest.raises(meantime.WorkerFunctionError, match="1 and 2") as caught:
        any_loop.run_until_complete(meantime.to_process(work.raise_awkward))
    assert "in raise_awkward" in str(caught.value.__cause__)


def test_a_cancelled_error_of_the_function_is_not_taken_for_a_cancellation_here(any_loop):
    with pytest.raises(meantime.WorkerFunctionError, match="CancelledError"):
        any_loop.run_until_complete(meantime.to_process(work.raise_cancelled))


def test_context_variables_are_carried_and_stay_as_they_are_here(any_loop):
    async def main():
        work.REQUEST.set("request 7")
        told = await meantime.to_process(work.request)
        return told, work.REQUEST.get()

    assert any_loop.run_until_complete(main()) == ("request 7", "request 7")


def test_a_context_variable_of_the_main_file_is_carried():
    done = run_program(
        """
        import contextvars, meantime

        user = contextvars.ContextVar("user", default="nobody")

        def who():
            return user.get()

        async def main():
            print(await meantime.to_process(who))
            user.set("Ada")
            print(await meantime.to_process(who))

        meantime.run(main())
        """
    )
    assert (done.stdout, done.stderr) == ("nobody\nAda\n", "")


def test_reports_arrive_in_order_before_the_result(any_loop):
    reports = []
    result = any_loop.run_until_complete(
        meantime.to_process(
            reporting.count_to, 100, on_progress=lambda *values: reports.append(values)
        )
    )
    assert result == 100
    assert reports == [(step, 100) for step in range(100)]


def test_a_failing_listener_is_told_to_the_loop_and_does_not_harm_the_job(any_loop):
    told = []
    any_loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))

    def fail(step, number):
        raise KeyError(step)

    assert (
        any_loop.run_until_complete(meantime.to_process(reporting.count_to, 2, on_progress=fail))
        == 2
    )
    assert [type(error) for error in told] == [KeyError, KeyError]


def test_to_report_where_nobody_listens_does_nothing(any_loop):
    assert any_loop.run_until_complete(meantime.to_process(reporting.count_to, 3)) == 3
    assert reporting.count_to(3) == 3


def test_a_decorated_function_runs_in_a_process_each_time(any_loop):
    async def main():
        return await reporting.decorated(3), await reporting.Holder(4).add(1)

    (one, number), (other, total) = any_loop.run_until_complete(main())
    assert os.getpid() not in (one, other)
    assert (number, total) == (3, 5)
    assert reporting.decorated.__doc__ == "Return who runs this, and a number."
    assert asyncio.iscoroutinefunction(reporting.decorated)


def test_an_argument_named_like_an_option_is_bound_before(any_loop):
    call = functools.partial(work.who_and_what, timeout=3)
    *_, keywords = any_loop.run_until_complete(meantime.to_process(call))
    assert keywords == {"timeout": 3}


def test_no_more_run_at_once_than_the_limit_says(any_loop):
    limiter = meantime.CapacityLimiter(2)
    most = 0

    async def call():
        nonlocal most
        job = asyncio.ensure_future(
            meantime.to_process(work.sleep_and_tell, 0.01, 1, limiter=limiter)
        )
        while not job.done():
            most = max(most, len(POOL.busy))
            await asyncio.sleep(0.001)
        return job.result()

    async def main():
        return await asyncio.gather(*(call() for _ in range(10)))

    assert any_loop.run_until_complete(main()) == [1] * 10
    assert most == 2
    assert limiter.available == 2


def test_a_timeout_ends_the_process_and_only_that_one(any_loop, tmp_path):
    async def main():
        limiter = meantime.CapacityLimiter(2)
        other = asyncio.ensure_future(
            meantime.to_process(work.sleep_and_tell, 3.0, "well", limiter=limiter)
        )
        with pytest.raises(TimeoutError, match=r"timeout of 2 s"):
            await meantime.to_process(
                work.spin_after, tmp_path / "pid", timeout=2.0, limiter=limiter
            )
        assert not is_alive(int((tmp_path / "pid").read_text()))
        assert not other.done()
        return await other

    assert any_loop.run_until_complete(main()) == "well"


def test_starting_a_worker_does_not_count_as_the_jobs_time(any_loop):
    assert any_loop.run_until_complete(meantime.to_process(abs, -2, timeout=0.02)) == 2


def test_when_a_cancelled_call_ends_its_process_is_gone(any_loop, tmp_path):
    async def main():
        job = asyncio.ensure_future(meantime.to_process(work.spin_after, tmp_path / "pid"))
        pid = await number_in(tmp_path / "pid")
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        return is_alive(pid)

    assert any_loop.run_until_complete(main()) is False


def test_what_a_job_has_started_ends_with_it(any_loop, tmp_path):
    async def main():
        job = asyncio.ensure_future(meantime.to_process(work.sleep_in_child, tmp_path / "pid"))
        pid = await number_in(tmp_path / "pid")
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        give_up_at = time.monotonic() + 5
        while is_alive(pid) and time.monotonic() < give_up_at:
            await asyncio.sleep(0.01)
        return is_alive(pid)

    assert any_loop.run_until_complete(main()) is False


def test_a_call_cancelled_in_line_costs_no_process(any_loop):
    async def main():
        limiter = meantime.CapacityLimiter(1)
        async with limiter:
            job = asyncio.ensure_future(meantime.to_process(work.double, 1, limiter=limiter))
            await asyncio.sleep(0)
            job.cancel()
            with pytest.raises(asyncio.CancelledError):
                await job
        return await meantime.to_process(work.double, 4, limiter=limiter), limiter.available

    assert any_loop.run_until_complete(main()) == (8, 1)


def test_a_coroutine_that_is_thrown_away_ends_its_process(any_loop, tmp_path):
    async def main():
        call = meantime.to_process(work.spin_after, tmp_path / "pid")
        call.send(None)
        for _ in range(1000):
            await asyncio.sleep(0.01)
            if len(POOL.busy) == 1:
                break
        call.close()
        return len(POOL.busy), len(POOL.idle)

    assert any_loop.run_until_complete(main()) == (0, 0)


def test_two_threads_with_loops_of_their_own_share_the_workers():
    results = []

    def run():
        async def main():
            return [await meantime.to_process(work.double, number) for number in range(50)]

        results.append(meantime.run(main()))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[2 * number for number in range(50)]] * 3
    assert not POOL.busy
    assert 1 <= len(POOL.idle) <= 3


def test_an_idle_worker_ends_after_a_while_and_nobody_notices(any_loop, monkeypatch):
    monkeypatch.setattr(POOL, "idle_s", 0.05)
    first, *_ = any_loop.run_until_complete(meantime.to_process(work.who_and_what))
    give_up_at = time.monotonic() + 10
    while is_alive(first) and time.monotonic() < give_up_at:
        time.sleep(0.01)
    assert not is_alive(first)
    second, *_ = any_loop.run_until_complete(meantime.to_process(work.who_and_what))
    assert second != first


def test_the_loop_clears_away_workers_that_have_ended(any_loop, monkeypatch):
    monkeypatch.setattr(POOL, "idle_s", 0.05)

    async def main():
        await meantime.to_process(work.double, 1)
        give_up_at = time.monotonic() + 10
        while (POOL.idle or POOL.dying) and time.monotonic() < give_up_at:
            await asyncio.sleep(0.01)
        return POOL.idle, POOL.dying

    assert any_loop.run_until_complete(main()) == ([], [])


def test_a_worker_that_leaves_just_as_it_gets_a_job_has_not_begun_it(any_loop, monkeypatch):
    """It says that it leaves; the job goes to the next one, and is done once."""
    monkeypatch.setattr(POOL, "idle_s", 0.02)
    any_loop.run_until_complete(meantime.to_process(work.double, 1))
    (worker,) = POOL.idle
    give_up_at = time.monotonic() + 10
    while is_alive(worker.pid) and time.monotonic() < give_up_at:
        time.sleep(0.01)
    assert any_loop.run_until_complete(meantime.to_process(work.double, 2)) == 4


def watches_on(loop):
    """Return for how many descriptors a loop waits."""
    if isinstance(loop, asyncio.SelectorEventLoop):
        return len(loop._selector.get_map())
    return loop._poller.count_armed()


def test_a_loop_waits_for_no_worker_after_a_call_however_it_ended(any_loop):
    async def main():
        await asyncio.sleep(0)
        before = watches_on(any_loop)
        reports = []
        await meantime.to_process(
            reporting.count_to, 3, on_progress=lambda *values: reports.append(values)
        )
        assert reports
        assert watches_on(any_loop) == before
        with pytest.raises(TimeoutError):
            await meantime.to_process(work.spin, timeout=0.05)
        assert watches_on(any_loop) == before
        job = asyncio.ensure_future(meantime.to_process(work.spin))
        while watches_on(any_loop) == before:
            await asyncio.sleep(0)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert watches_on(any_loop) == before

    any_loop.run_until_complete(main())


def test_workers_come_soon_after_the_first(any_loop):
    """They are forked by a process that has nothing else to do."""

    async def main():
        await meantime.to_process(abs, -1)
        times = []
        for _ in range(10):
            with pytest.raises(meantime.WorkerDiedError):
                await meantime.to_process(os._exit, 1)
            before = time.perf_counter()
            await meantime.to_process(abs, -1)
            times.append(time.perf_counter() - before)
        return min(times)

    assert any_loop.run_until_complete(main()) < 0.02  # a new Python takes longer


def test_a_nursery_that_nobody_needs_ends_and_another_one_comes(any_loop, monkeypatch):
    monkeypatch.setattr(POOL, "idle_s", 0.05)

    async def main():
        await meantime.to_process(abs, -1)
        nursery = POOL.parent
        give_up_at = time.monotonic() + 10
        while nursery.is_there() and time.monotonic() < give_up_at:
            POOL.clear_away()
            await asyncio.sleep(0.01)
        assert nursery.process.returncode == 0
        return await meantime.to_process(abs, -2)

    assert any_loop.run_until_complete(main()) == 2


def test_stopping_workers_ends_a_running_job_with_an_error(any_loop, tmp_path):
    async def main():
        job = asyncio.ensure_future(meantime.to_process(work.spin_after, tmp_path / "pid"))
        await number_in(tmp_path / "pid")
        meantime.stop_workers()
        with pytest.raises(meantime.WorkerDiedError):
            await job
        return await meantime.to_process(abs, -2)

    assert any_loop.run_until_complete(main()) == 2


def test_a_worker_has_none_of_the_programs_descriptors(any_loop, tmp_path):
    with open(tmp_path / "open", "w"):  # noqa: PTH123
        read_fd, write_fd = os.pipe()
        os.set_inheritable(write_fd, True)

        def descriptors():
            entries = Path("/proc/self/fd").iterdir()
            return sorted(str(entry.readlink()) for entry in entries if entry.exists())

        try:
            targets = any_loop.run_until_complete(meantime.to_process(descriptors))
            pipe = str(Path(f"/proc/self/fd/{write_fd}").readlink())
        finally:
            os.close(read_fd)
            os.close(write_fd)
    assert pipe not in targets
    assert str(tmp_path / "open") not in targets
    assert not [target for target in targets if "eventpoll" in target or "io_uring" in target]


def test_a_program_ends_although_workers_are_idle_or_busy():
    started = time.monotonic()
    done = run_program(
        """
        import asyncio, os, threading, time, meantime

        def spin():
            while True:
                pass

        async def use():
            await meantime.to_process(abs, -1)

        async def forget():
            asyncio.get_running_loop().create_task(meantime.to_process(spin))
            await asyncio.sleep(0.3)

        meantime.run(use())
        meantime.run(forget())
        threading.Thread(
            target=lambda: meantime.run(meantime.to_process(spin)), daemon=True
        ).start()
        time.sleep(0.5)
        print("end", flush=True)
        """
    )
    assert (done.stdout, done.returncode) == ("end\n", 0)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("kind", ["idle", "busy"])
def test_workers_end_when_the_program_is_killed(kind, tmp_path):
    program = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                """
                import asyncio, os, re, sys, time, meantime

                def tell():
                    print(os.getpid(), flush=True)

                def hold():
                    print(os.getpid(), flush=True)
                    re.match(r"(a+)+$", "a" * 60 + "b")  # holds the GIL for ages

                async def main():
                    await meantime.to_process(tell if sys.argv[1] == "idle" else hold)
                    await asyncio.sleep(60)

                meantime.run(main())
                """
            ),
            kind,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        worker = int(program.stdout.readline())
        assert is_alive(worker)
        program.kill()
    give_up_at = time.monotonic() + 10
    while is_alive(worker) and time.monotonic() < give_up_at:
        time.sleep(0.01)
    assert not is_alive(worker)


def test_a_forked_child_leaves_the_parents_workers_alone(any_loop):
    any_loop.run_until_complete(meantime.to_process(work.double, 1))
    pid = os.fork()
    if pid == 0:
        try:
            meantime.stop_workers()
            ended = meantime.run(meantime.to_process(work.double, 3))
            meantime.stop_workers()
            os._exit(ended)
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
    assert any_loop.run_until_complete(meantime.to_process(work.double, 2)) == 4
    assert len(POOL.idle) == 1


def test_modules_are_found_where_the_program_finds_them(any_loop, tmp_path, monkeypatch):
    """Also when the path has changed since the worker began."""
    any_loop.run_until_complete(meantime.to_process(work.double, 1))
    (tmp_path / "found_late.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    import found_late

    try:
        assert any_loop.run_until_complete(meantime.to_process(found_late.answer)) == 42
    finally:
        del sys.modules["found_late"]


def test_a_worker_does_not_import_meantime_unasked(any_loop):
    """That takes longer than many jobs."""

    def modules():
        import sys

        return sorted(name for name in sys.modules if name in ("meantime", "asyncio", "numpy"))

    assert any_loop.run_until_complete(meantime.to_process(modules)) == []


async def number_in(path):
    """Wait for a file, and return the number in it."""
    while not (path.exists() and path.read_text()):
        await asyncio.sleep(0.005)
    return int(path.read_text())


def is_alive(pid):
    """Tell whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
