"""Guards: what they take, whom they tell, and that they leave nothing behind."""

import asyncio
import logging
import os
import subprocess
import sys
import time
import types
import warnings

import pytest

import meantime
from meantime.guard.guarding import from_environment
from meantime.guard.places import awaits_of
from meantime.guard.watching import THE_PROCESS


@pytest.fixture(autouse=True)
def nothing_stays():
    hook, run = warnings._warn_unawaited_coroutine, asyncio.BaseEventLoop.run_forever
    yield
    assert not THE_PROCESS.guards
    assert warnings._warn_unawaited_coroutine is hook
    assert asyncio.BaseEventLoop.run_forever is run
    assert sys.get_coroutine_origin_tracking_depth() == 0


async def block():
    await asyncio.sleep(0)
    time.sleep(0.2)
    await asyncio.sleep(0)


def test_a_finding_says_where_what_why_and_what_to_do(any_loop):
    async def main():
        await asyncio.create_task(block())

    with meantime.guard(action=lambda finding: None) as guard:
        any_loop.run_until_complete(main())
    [found] = guard.findings
    assert found.kind == "blocked"
    assert found.call == "time.sleep"
    assert found.place.file == __file__
    assert found.place.line == block.__code__.co_firstlineno + 2
    assert found.place.source == "time.sleep(0.2)"
    assert found.spent_s > 0.05
    assert found.task.endswith("(block)")
    assert found.task_made_at.file == __file__
    text = str(found)
    for part in (f"{__file__}:", "time.sleep held the event loop", "asyncio.sleep", "Task-"):
        assert part in text


def test_a_guard_may_begin_in_a_coroutine(any_loop):
    async def main():
        time.sleep(0.2)
        await asyncio.sleep(0)
        with meantime.guard(action=lambda finding: None) as guard:
            await block()
        time.sleep(0.2)
        await asyncio.sleep(0)
        return guard.findings

    assert [one.call for one in any_loop.run_until_complete(main())] == ["time.sleep"]


def test_a_wait_is_followed_through_a_coroutine_of_the_old_kind(loop):
    @types.coroutine
    def old(waits):
        yield from waits

    async def inner():
        await loop.create_future()

    async def main():
        task = asyncio.ensure_future(outer())
        await asyncio.sleep(0)
        names = [code.co_name for code, _, _ in awaits_of(task.get_coro())]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return names

    async def outer():
        await old(inner())

    assert loop.run_until_complete(main()) == ["inner", "old", "outer"]


def test_a_guard_knows_how_late_the_loop_was(any_loop):
    with meantime.guard(action=lambda finding: None) as guard:
        any_loop.run_until_complete(block())
        any_loop.run_until_complete(asyncio.sleep(0.1))
    lags = guard.lag_histogram()
    assert [lag_s for lag_s, _ in lags] == sorted(lag_s for lag_s, _ in lags)
    assert any(count for lag_s, count in lags if lag_s > 0.1)
    # What comes after it is another guard's.
    any_loop.run_until_complete(block())
    assert guard.lag_histogram() == lags
    with meantime.guard() as later:
        assert not any(count for _, count in later.lag_histogram())


def test_a_guard_that_never_began_knows_no_lag():
    assert not any(count for _, count in meantime.guard().lag_histogram())


def test_the_same_is_told_once_and_counted(loop):
    told = []
    with meantime.guard(action=told.append) as guard:
        for _ in range(3):
            loop.run_until_complete(block())
    assert len(told) == 1
    assert guard.count_of(told[0]) == 3


def test_each_guard_has_its_own_threshold(loop):
    with (
        meantime.guard(10, lambda finding: None) as patient,
        meantime.guard(0.05, lambda finding: None) as strict,
    ):
        loop.run_until_complete(block())
    assert not patient.findings
    assert len(strict.findings) == 1


def test_it_warns_at_the_line_itself(loop):
    with pytest.warns(meantime.GuardWarning, match=r"time\.sleep") as seen, meantime.guard():
        loop.run_until_complete(block())
    assert seen[0].filename == __file__


def test_it_logs(loop, caplog):
    with caplog.at_level(logging.WARNING, "meantime.guard"), meantime.guard(action="log"):
        loop.run_until_complete(block())
    assert "time.sleep held the event loop" in caplog.text


def test_it_raises_when_it_ends(loop):
    with (
        pytest.raises(meantime.GuardError, match=r"time\.sleep") as raised,
        meantime.guard(action="raise"),
    ):
        loop.run_until_complete(block())
    assert len(raised.value.findings) == 1


def test_a_deadlock_ends_where_it_is_to_raise(backend):
    """In a process of its own: pytest has threads of which nothing is known."""
    code = """
import asyncio
import meantime

async def main():
    await asyncio.get_running_loop().create_future()

with meantime.guard(action="raise"):
    meantime.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "MEANTIME_BACKEND": backend},
    )
    assert ended.returncode == 1
    assert "GuardError: " in ended.stderr
    assert "nothing is left that could wake it" in ended.stderr


def test_as_a_decorator_of_functions_and_coroutine_functions(loop):
    told = []

    @meantime.guard(action=told.append)
    def run():
        loop.run_until_complete(block())
        return 1

    @meantime.guard(action=told.append)
    async def run_too():
        await block()
        return 2

    assert run() == 1
    assert loop.run_until_complete(run_too()) == 2
    assert [one.call for one in told] == ["time.sleep"] * 2


def test_an_action_that_raises_harms_nobody(loop, caplog):
    def fail(finding):
        raise ValueError("action")

    with meantime.guard(action=fail):
        loop.run_until_complete(block())
    assert "the action of a guard raised an exception" in caplog.text


def test_what_is_allowed_is_not_told(any_loop):
    async def main():
        with meantime.allow_blocking():
            await block()

    with meantime.guard(action=lambda finding: None) as guard:
        any_loop.run_until_complete(main())
    assert not guard.findings


def test_asyncios_own_exception_handler_is_told_all_the_same(any_loop):
    situations = []
    any_loop.set_exception_handler(lambda _, situation: situations.append(situation))
    with meantime.guard(action=lambda finding: None):
        any_loop.call_soon(lambda: 1 / 0)
        any_loop.run_until_complete(asyncio.sleep(0.01))
    assert isinstance(situations[0]["exception"], ZeroDivisionError)
    assert "call_exception_handler" not in any_loop.__dict__


def test_python_warns_of_a_forgotten_await_at_the_same_line(loop):
    async def forgotten():
        pass

    async def main():
        forgotten()

    with (
        pytest.warns(RuntimeWarning, match="forgotten") as seen,
        meantime.guard(action=lambda finding: None) as guard,
    ):
        loop.run_until_complete(main())
    assert (seen[0].filename, seen[0].lineno) == (__file__, main.__code__.co_firstlineno + 1)
    [found] = guard.findings
    assert found.place.line == main.__code__.co_firstlineno + 1


@pytest.mark.parametrize("threshold_s", [0, -1, float("nan")])
def test_a_threshold_that_means_nothing_is_refused(threshold_s):
    with pytest.raises(ValueError, match="threshold_s"):
        meantime.guard(threshold_s)


def test_an_action_that_means_nothing_is_refused():
    with pytest.raises(ValueError, match="warn, log, raise"):
        meantime.guard(action="shout")


def test_a_guard_is_on_once():
    with meantime.guard(action="log") as guard, pytest.raises(RuntimeError, match="on already"):
        guard.begin()
    guard.end()


def test_the_environment_asks_for_a_guard():
    assert from_environment("") is None
    assert from_environment("off") is None
    asked = from_environment("log,0.1")
    assert (asked.action, asked.threshold_s) == ("log", 0.1)
    with pytest.raises(ValueError, match="MEANTIME_GUARD"):
        from_environment("shout")
