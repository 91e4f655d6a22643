"""Watching a loop: observers, and what debug mode says."""

import asyncio
import logging
import os
import threading
import time

import pytest

from meantime._core.observe import Observer, SleepSampler


class Recorder(Observer):
    """Remembers all it is told."""

    def __init__(self):
        self.callbacks = []
        self.waits = []

    def callback_done(self, handle, spent_s):
        self.callbacks.append((handle._args, spent_s))

    def waited(self, spent_s, event_count):
        self.waits.append((spent_s, event_count))


class Failing(Observer):
    """Raises whenever it is told something."""

    def __init__(self):
        self.told = 0

    def callback_done(self, handle, spent_s):
        self.told += 1
        raise ValueError("observer")

    def waited(self, spent_s, event_count):
        self.told += 1
        raise ValueError("observer")


@pytest.fixture
def failures(loop):
    situations = []
    loop.set_exception_handler(lambda _loop, situation: situations.append(situation))
    return situations


def run_turn(loop):
    loop.stop()
    loop.run_forever()


def test_an_observer_is_told_of_callbacks_and_how_long_they_took(loop):
    seen = Recorder()
    loop.add_observer(seen)
    loop.call_soon(len, "abc")
    loop.call_later(-1, abs, 7)
    cancelled = loop.call_soon(len, "cancelled")
    cancelled.cancel()
    run_turn(loop)
    assert [arguments for arguments, _ in seen.callbacks] == [("abc",), (7,)]
    assert all(0 <= spent_s < 5 for _, spent_s in seen.callbacks)


def test_an_observer_is_told_of_readers(loop):
    seen = Recorder()
    fd = os.eventfd(1)
    loop.add_reader(fd, len, "reader")
    loop.call_later(0.001, loop.stop)
    loop.add_observer(seen)
    loop.run_forever()
    loop.remove_reader(fd)
    os.close(fd)
    assert ("reader",) in [arguments for arguments, _ in seen.callbacks]


def test_an_observer_is_told_of_waits(loop):
    seen = Recorder()
    loop.add_observer(seen)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert seen.waits
    assert sum(spent_s for spent_s, _ in seen.waits) >= 0.009


def test_several_observers_are_told(loop):
    one, other = Recorder(), Recorder()
    loop.add_observer(one)
    loop.add_observer(other)
    loop.call_soon(len, "x")
    run_turn(loop)
    assert len(one.callbacks) == len(other.callbacks) == 1


def test_a_removed_observer_is_told_nothing_more(loop):
    seen = Recorder()
    loop.add_observer(seen)
    loop.remove_observer(seen)
    loop.call_soon(len, "x")
    run_turn(loop)
    assert seen.callbacks == []
    with pytest.raises(ValueError, match="not in list"):
        loop.remove_observer(seen)


def test_what_is_no_observer_is_refused(loop):
    for no_observer in (None, print, object()):
        with pytest.raises(TypeError):
            loop.add_observer(no_observer)


def test_a_raising_observer_is_taken_off_and_reported_once(loop, failures):
    """A tool that watches must not harm the program that it watches."""
    bad, good = Failing(), Recorder()
    loop.add_observer(bad)
    loop.add_observer(good)
    for text in ("a", "b", "c"):
        loop.call_soon(len, text)
    run_turn(loop)
    assert bad.told == 1
    assert [str(failure["exception"]) for failure in failures] == ["observer"]
    assert "observes this loop no longer" in failures[0]["message"]
    assert [arguments for arguments, _ in good.callbacks] == [("a",), ("b",), ("c",)]


def test_an_observer_that_raises_at_a_wait_is_taken_off(loop, failures):
    class FailingAtWaits(Failing):
        def callback_done(self, handle, spent_s):
            pass

    bad = FailingAtWaits()
    loop.add_observer(bad)
    loop.call_later(0.001, loop.call_later, 0.001, loop.stop)
    loop.run_forever()
    assert bad.told == 1
    assert len(failures) == 1


def test_an_observer_may_take_itself_off(loop):
    class Once(Recorder):
        def callback_done(self, handle, spent_s):
            super().callback_done(handle, spent_s)
            loop.remove_observer(self)

    seen = Once()
    loop.add_observer(seen)
    loop.call_soon(len, "x")
    loop.call_soon(len, "y")
    run_turn(loop)
    assert len(seen.callbacks) == 1


# --- Debug mode -----------------------------------------------------------------------------------


def test_debug_mode_names_the_slow_task(loop, caplog):
    """The line to look for, when a server hangs for a moment."""
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0

    async def slow():
        time.perf_counter()

    async def main():
        await asyncio.create_task(slow(), name="the slow one")

    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.run_until_complete(main())
    assert any(
        "the slow one" in line and line.startswith("Executing <Task ") and "took 0.0" in line
        for line in caplog.messages
    )


def test_debug_mode_names_the_slow_callback(loop, caplog):
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    loop.call_soon(time.perf_counter)
    with caplog.at_level(logging.WARNING, "asyncio"):
        run_turn(loop)
    assert any(line.startswith("Executing <Handle perf_counter()") for line in caplog.messages)


def test_quick_callbacks_are_not_logged(loop, caplog):
    loop.set_debug(True)
    loop.slow_callback_duration = 60
    loop.call_soon(int)
    with caplog.at_level(logging.WARNING, "asyncio"):
        run_turn(loop)
    assert not [line for line in caplog.messages if line.startswith("Executing")]


@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
def test_debug_mode_notices_the_wrong_thread(loop, method):
    """Without it such a call works most of the time, and hangs once a week."""
    loop.set_debug(True)
    leading = () if method == "call_soon" else (0,)
    errors = []

    def use():
        try:
            getattr(loop, method)(*leading, print)
        except RuntimeError as error:
            errors.append(str(error))
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=use)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    assert len(errors) == 1
    assert "Non-thread-safe operation" in errors[0]
    assert "call_soon_threadsafe" in errors[0]


def test_a_failure_says_in_debug_mode_where_it_was_scheduled(loop, failures):
    loop.set_debug(True)
    loop.call_soon(lambda: 1 / 0)
    run_turn(loop)
    assert "test_observe.py" in str(failures[0]["source_traceback"])


class Sampler(SleepSampler):
    def __init__(self):
        self.samples = []

    def sampled(self, spent_s):
        self.samples.append(spent_s)


def sleep_once(loop, seconds):
    loop.call_later(seconds, loop.stop)
    loop.run_forever()


def test_a_sampler_is_told_of_each_sleep_by_default(loop):
    sampler = Sampler()
    loop.add_observer(sampler)
    for _ in range(3):
        sleep_once(loop, 0.002)
    loop.remove_observer(sampler)
    assert sampler.samples
    assert sum(sampler.samples) == pytest.approx(sampler.slept_s)


def test_short_sleeps_are_added_up_until_one_stands_for_them(loop):
    sampler = Sampler()
    sampler.step_s = 10.0
    sampler.next_s = 0.005
    loop.add_observer(sampler)
    for _ in range(8):
        sleep_once(loop, 0.002)
    loop.remove_observer(sampler)
    # How long a sleep takes is the machine's to say.
    assert all(spent_s >= 0.005 for spent_s in sampler.samples)
    assert 0 <= sampler.slept_s - sum(sampler.samples) < 0.005 + 1e-9


def test_a_long_sleep_is_told_of_for_its_own_sake(loop):
    sampler = Sampler()
    sampler.step_s = 0.02
    sampler.next_s = 10.0
    loop.add_observer(sampler)
    sleep_once(loop, 0.001)
    sleep_once(loop, 0.1)
    loop.remove_observer(sampler)
    assert sampler.samples
    assert all(spent_s >= 0.02 for spent_s in sampler.samples)


def test_a_sampler_makes_no_callback_dearer(loop):
    """Only those who override callback_done do."""
    recorder = Sampler()
    loop.add_observer(recorder)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.remove_observer(recorder)
    assert recorder.samples == []


def test_a_sampler_that_raises_is_taken_off(loop, failures):
    class Bad(SleepSampler):
        def sampled(self, spent_s):
            raise ValueError("sampler")

    loop.add_observer(Bad())
    sleep_once(loop, 0.002)
    sleep_once(loop, 0.002)
    assert len(failures) == 1
    assert "observes this loop no longer" in failures[0]["message"]
