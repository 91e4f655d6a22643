"""The watchdog: steps and turns that take too long, seen from another thread."""

import asyncio
import gc
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref

import pytest

import meantime
from meantime._core.observe import Observer, watch_runs
from meantime._core.watchdog import Watchdog, look

THRESHOLD_S = 0.02


class Recorder(Watchdog):
    """Remembers all it is told."""

    def __init__(self, threshold_s=THRESHOLD_S):
        super().__init__(threshold_s)
        self.steps, self.turns, self.failed, self.stuck = [], [], [], []

    def step_took_too_long(self, spent_s, sightings):
        self.steps.append((spent_s, sightings, threading.get_ident()))

    def turn_took_too_long(self, spent_s, step_count, sightings):
        self.turns.append((spent_s, step_count, sightings))

    def step_is_stuck(self, spent_s, sightings):
        self.stuck.append(spent_s)

    def task_has_failed(self, task):
        self.failed.append(task)


@pytest.fixture
def watchdog(loop):
    watchdog = Recorder(THRESHOLD_S)
    loop._set_overseer(watchdog)
    return watchdog


def names_in(sightings):
    return [code.co_name for code, _, _ in sightings[-1][4]]


def spend(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_a_blocking_call_is_seen_where_it_stands(loop, watchdog):
    async def main():
        await asyncio.sleep(0)
        time.sleep(0.2)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    [(spent_s, sightings, thread)] = watchdog.steps
    assert 0.1 < spent_s < 0.2 + 5
    assert thread == threading.get_ident()
    _, _, task, _, frames, _ = sightings[0]
    assert task.get_coro().__name__ == "main"
    code, _, line = frames[0]
    assert (code.co_name, line) == ("main", main.__code__.co_firstlineno + 2)


@pytest.mark.parametrize(
    "hold",
    [
        lambda: re.match(r"(a+)+$", "a" * 23 + "b"),
        lambda: sum(range(20_000_000)),
    ],
    ids=["regex", "sum"],
)
def test_a_call_that_keeps_the_gil_is_seen(loop, watchdog, hold):
    async def main():
        hold()

    # On a busy machine the thread that looks may come after the call has ended.
    for _ in range(5):
        loop.run_until_complete(main())
        if watchdog.steps:
            break
    [(spent_s, sightings, _)] = watchdog.steps
    assert spent_s > 0.1
    assert "main" in names_in(sightings)


def test_a_delivery_that_takes_long_is_seen(loop, watchdog):
    class Slow(asyncio.Protocol):
        def data_received(self, data):
            time.sleep(0.1)
            ended.set_result(None)

    async def main():
        ours, theirs = socket.socketpair()
        transport, _ = await loop.create_connection(Slow, sock=ours)
        theirs.send(b"x")
        await ended
        transport.close()
        theirs.close()

    ended = loop.create_future()
    loop.run_until_complete(main())
    [(spent_s, sightings, _)] = watchdog.steps
    assert spent_s > 0.05
    assert names_in(sightings)[0] == "data_received"


def test_many_short_steps_in_one_turn_are_seen_as_such(loop, watchdog):
    for _ in range(60):
        loop.call_soon(spend, 0.003)
    loop.call_later(0.3, loop.stop)
    loop.run_forever()
    assert not watchdog.steps
    [(spent_s, step_count, sightings)] = watchdog.turns
    assert spent_s > 0.1
    assert step_count > 30
    assert any(names_in([one])[0] == "spend" for one in sightings)


def test_what_is_quick_is_not_seen(loop, watchdog):
    async def main():
        for _ in range(100):
            spend(0.001)
            await asyncio.sleep(0)
        await asyncio.sleep(0.15)
        for _ in range(3):
            await asyncio.sleep(0.04)
            spend(0.005)

    loop.run_until_complete(main())
    assert not watchdog.steps
    assert not watchdog.turns


def test_a_watchdog_that_raises_harms_nobody(loop, monkeypatch):
    class Failing(Watchdog):
        def step_took_too_long(self, spent_s, sightings):
            raise ValueError("watchdog")

    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda failure: seen.append(failure.exc_value))
    loop._set_overseer(Failing(THRESHOLD_S))
    loop.call_soon(time.sleep, 0.1)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert [str(error) for error in seen] == ["watchdog"]


def test_a_failed_task_is_told_of_when_it_fails(loop, watchdog):
    async def fail():
        raise ValueError("task")

    async def main():
        with pytest.raises(ValueError, match="task"):
            await loop.create_task(fail())
        told = list(watchdog.failed)
        loop.set_task_factory(lambda loop, coro, **kwargs: asyncio.Task(coro, loop=loop, **kwargs))
        with pytest.raises(ValueError, match="task"):
            await loop.create_task(fail())
        await asyncio.sleep(0)
        cancelled = loop.create_task(asyncio.sleep(10))
        cancelled.cancel()
        await asyncio.wait([cancelled])
        return told

    assert len(loop.run_until_complete(main())) == 1
    assert [str(task.exception()) for task in watchdog.failed] == ["task", "task"]


# --- Reminders ------------------------------------------------------------------------------------


class Reminded(Watchdog):
    def __init__(self):
        super().__init__(0.02)
        self.reminded_s = []

    def reminder(self):
        self.reminded_s.append(time.monotonic())
        asyncio.get_running_loop().stop()


@pytest.fixture
def reminded(loop):
    reminded = Reminded()
    loop._set_overseer(reminded)
    yield reminded
    loop._set_overseer(None)


async def be_busy():
    while True:
        await asyncio.sleep(0)


async def sleep_briefly():
    while True:
        await asyncio.sleep(0.001)


async def sleep_long():
    await asyncio.sleep(60)


@pytest.mark.parametrize("work", [be_busy, sleep_briefly, sleep_long])
def test_a_loop_is_reminded_whatever_it_does(loop, reminded, work):
    task = loop.create_task(work())
    started_s = time.monotonic()
    loop.call_soon(reminded.remind_in, 0.1)
    loop.run_forever()
    [reminded_s] = reminded.reminded_s
    assert 0.1 <= reminded_s - started_s < 20
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))


def test_what_is_wished_before_the_loop_runs_begins_with_it(loop, reminded):
    reminded.remind_in(0.05)
    time.sleep(0.1)
    started_s = time.monotonic()
    loop.run_forever()
    assert reminded.reminded_s[0] - started_s >= 0.05


def test_only_the_last_wish_counts_and_none_outlives_the_run(loop, reminded):
    def wish():
        reminded.remind_in(0.01)
        reminded.remind_in(60)
        loop.call_later(0.2, loop.stop)

    loop.call_soon(wish)
    loop.run_forever()
    loop.call_soon(reminded.remind_in, 0.01)
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0.2))
    assert reminded.reminded_s == []


def test_no_task_is_the_current_one_while_it_is_reminded(loop, reminded):
    seen = []
    reminded.reminder = lambda: (seen.append(asyncio.current_task()), loop.stop())
    reminded.remind_in(0.01)
    task = loop.create_task(be_busy())
    loop.run_forever()
    assert seen == [None]
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))


# --- Lag ------------------------------------------------------------------------------------------


def test_lag_is_counted(loop, watchdog):
    async def main():
        end = loop.time() + 0.3
        while loop.time() < end:
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    counts = watchdog.lag_histogram()
    assert sum(count for _, count in counts) > 10
    assert [bound_s for bound_s, _ in counts] == sorted(bound_s for bound_s, _ in counts)
    loop.call_soon(time.sleep, 0.15)
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    assert watchdog.lag_s_max > 0.05


def test_a_sleep_is_no_lag(loop, watchdog):
    """The question may come just when the loop falls asleep."""
    for _ in range(20):
        loop.run_until_complete(asyncio.sleep(0.021))
    assert watchdog.lag_s_max < 0.02


def test_the_watch_may_begin_and_end_while_the_loop_runs(loop):
    watchdog = Recorder(THRESHOLD_S)

    async def main():
        time.sleep(0.1)
        await asyncio.sleep(0)
        loop._set_overseer(watchdog)
        time.sleep(0.1)
        await asyncio.sleep(0)
        loop._set_overseer(None)
        time.sleep(0.1)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    # What began before the watch is judged from its beginning on.
    assert len(watchdog.steps) <= 1


def test_a_watchdog_ends_with_its_loop(backend):
    watchdog = Recorder(THRESHOLD_S)
    loop = meantime.EventLoop(backend=backend)
    loop._set_overseer(watchdog)
    watchdog.loop_too = loop
    loop.run_until_complete(asyncio.sleep(0.05))
    gone = weakref.ref(watchdog)
    loop.close()
    del loop, watchdog
    gc.collect()
    assert gone() is None


def test_two_loops_in_two_threads_are_watched(backend):
    found = {}

    def run(name):
        loop = meantime.EventLoop(backend=backend)
        found[name] = Recorder(THRESHOLD_S)
        loop._set_overseer(found[name])

        async def main():
            for _ in range(5):
                time.sleep(0.1)
                await asyncio.sleep(0.005)

        try:
            loop.run_until_complete(main())
        finally:
            loop.close()

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # On a busy machine most of a step may be a wait for a processor, which is not the step's fault.
    assert 0 < len(found["a"].steps) <= 5
    assert 0 < len(found["b"].steps) <= 5
    assert {one[2] for one in found["a"].steps}.isdisjoint(one[2] for one in found["b"].steps)


def test_one_watchdog_watches_one_loop_at_a_time(loop, watchdog, backend):
    other = meantime.EventLoop(backend=backend)
    other._set_overseer(watchdog)
    errors = []

    def run_other():
        try:
            other.run_forever()
        except RuntimeError as error:
            errors.append(str(error))

    async def main():
        await asyncio.to_thread(run_other)

    loop.run_until_complete(main())
    other.close()
    assert "Make one for each loop" in errors[0]


def test_an_overseer_is_not_set_from_another_thread(loop):
    async def main():
        with pytest.raises(RuntimeError, match="call_soon_threadsafe"):
            await asyncio.to_thread(loop._set_overseer, Recorder())

    loop.run_until_complete(main())


@pytest.mark.parametrize("threshold_s", [0, -1, 0.0001, float("nan"), float("inf")])
def test_a_threshold_that_means_nothing_is_refused(threshold_s):
    with pytest.raises(ValueError, match="threshold_s"):
        Watchdog(threshold_s)


def test_a_step_that_ends_by_ctrl_c_is_told(loop, watchdog):
    async def main():
        threading.Timer(0.15, signal.raise_signal, [signal.SIGINT]).start()
        time.sleep(5)

    def raise_it(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, raise_it)
    task = loop.create_task(main())
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(watchdog.steps) == 1
    with pytest.raises(KeyboardInterrupt):
        task.result()


def test_a_stopped_process_has_not_blocked(loop, watchdog):
    """Ctrl-Z, or a suspended machine: nobody's fault."""
    stopper = f"""
import os, time, signal
time.sleep(0.3)
os.kill({os.getpid()}, signal.SIGSTOP)
time.sleep(0.5)
os.kill({os.getpid()}, signal.SIGCONT)
"""
    waker = subprocess.Popen([sys.executable, "-c", stopper])

    async def main():
        while waker.poll() is None:
            spend(0.002)
            await asyncio.sleep(0.001)

    loop.run_until_complete(main())
    assert max([spent_s for spent_s, _, _ in watchdog.steps], default=0) < 0.2


def test_another_thread_with_the_gil_is_told_apart(loop, watchdog):
    """A step that waits for the GIL is not to blame for it."""

    def work():
        while not stopping:
            sum(range(1000))

    async def main():
        for _ in range(8):
            time.sleep(0)
            os.sched_yield()
            time.sleep(0)

    stopping = []
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.02)
    worker = threading.Thread(target=work)
    worker.start()
    try:
        loop.run_until_complete(main())
    finally:
        stopping.append(True)
        sys.setswitchinterval(before)
        worker.join()
    for _, sightings, _ in watchdog.steps:
        assert any(others for _, _, _, others, _, _ in sightings)


# --- Forks and exits ------------------------------------------------------------------------------


def run_python(code):
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )


HEAD = """
import asyncio, os, sys, threading, time
import meantime
from meantime._core.watchdog import Watchdog, look

class Printer(Watchdog):
    def step_took_too_long(self, spent_s, sightings):
        # Not print: a thread that dies with the interpreter must not have the lock of stdout.
        os.write(1, b"step of parent\\n" if os.getpid() == FIRST else b"step of child\\n")

    def step_is_stuck(self, spent_s, sightings):
        os.write(1, b"stuck")

FIRST = os.getpid()

def watched():
    loop = meantime.EventLoop(backend=BACKEND)
    loop._set_overseer(Printer(0.02))
    return loop
"""


def head(backend):
    return HEAD.replace("BACKEND", repr(backend))


def test_a_fork_is_not_warned_of_and_both_sides_are_watched(backend):
    """From 3.12 on Python warns of a fork beside other threads, and errors here."""
    ended = run_python(
        head(backend)
        + """
async def main():
    await asyncio.sleep(0.03)
    child = os.fork()
    if child == 0:
        loop = watched()
        loop.call_soon(time.sleep, 0.1)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        os._exit(0)
    os.waitpid(child, 0)
    await asyncio.sleep(0)
    time.sleep(0.1)

loop = watched()
loop.run_until_complete(main())
loop.close()
"""
    )
    assert ended.stderr == ""
    assert ended.returncode == 0
    assert sorted(ended.stdout.splitlines()) == ["step of child", *["step of parent"] * 2]


@pytest.mark.parametrize(
    "end",
    ["sys.exit(3)", "os._exit(3)", "raise SystemExit(3)", "os.abort()"],
)
def test_the_interpreter_ends_while_it_watches(backend, end):
    ended = run_python(
        head(backend)
        + f"""
async def main():
    await asyncio.sleep(0.03)
    time.sleep(0.05)
    {end}

loop = watched()
loop.run_until_complete(main())
"""
    )
    assert ended.returncode == (-signal.SIGABRT if "abort" in end else 3)


def test_the_interpreter_ends_while_a_thread_is_watched(backend):
    """Its loop runs on, in a daemon thread that blocks and works while everything is torn down."""
    for _ in range(5):
        ended = run_python(
            head(backend)
            + """
async def main():
    while True:
        time.sleep(0.03)
        sum(range(500_000))
        await asyncio.sleep(0)

loop = watched()
threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True).start()
time.sleep(0.2)
"""
        )
        assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_a_step_that_never_ends_is_told_of(backend):
    ended = run_python(
        head(backend)
        + """
loop = watched()
loop.call_soon(time.sleep, 6)
loop.call_soon(loop.stop)
loop.run_forever()
loop.close()
"""
    )
    assert ended.stdout == "stuckstep of parent\n"


# --- Sleeps and runs ------------------------------------------------------------------------------


def test_an_observer_of_sleeps_is_told_of_no_callback(loop):
    class OfSleeps(Observer):
        def __init__(self):
            self.told = []

        def waiting(self):
            self.told.append("waiting")

        def waited(self, spent_s, event_count):
            self.told.append((spent_s, event_count))

    observer = OfSleeps()
    loop.add_observer(observer)
    loop.call_later(0.05, loop.stop)
    started_s = time.monotonic()
    loop.run_forever()
    assert observer.told[0] == "waiting"
    # Less than the timer's time, where the machine was slow to begin.
    assert 0 < observer.told[1][0] < time.monotonic() - started_s
    assert observer.told[1][1] == 0
    assert len(observer.told) % 2 == 0


def test_what_is_scheduled_before_a_sleep_runs_at_once(loop):
    class Busy(Observer):
        def waiting(self):
            loop.call_soon(loop.stop)

    loop.add_observer(Busy())
    loop.call_later(60, print)
    started_s = time.monotonic()
    loop.run_forever()
    assert time.monotonic() - started_s < 30


def test_an_observer_that_rests_is_told_of_few_sleeps(loop):
    class Rare(Observer):
        count = 0

        def waited(self, spent_s, event_count):
            self.count += 1

    rare, frequent = Rare(), Rare()
    rare.rest_s = 3600
    loop.add_observer(rare)
    loop.add_observer(frequent)
    for _ in range(5):
        loop.run_until_complete(asyncio.sleep(0.002))
    assert rare.count == 1
    assert frequent.count >= 5


def test_runs_of_all_loops_can_be_watched(loop, backend):
    told = []
    end = watch_runs(
        lambda loop: told.append(("began", loop.is_running())),
        lambda loop: told.append(("ended", loop.is_running())),
    )
    try:
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        end()
    loop.run_until_complete(asyncio.sleep(0))
    assert told == [("began", True), ("ended", True)]


def test_a_failing_watcher_of_runs_is_reported(loop):
    situations = []
    loop.set_exception_handler(lambda _, situation: situations.append(situation))

    def fail(loop):
        raise ValueError("watcher")

    end = watch_runs(fail, fail)
    try:
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        end()
    assert [str(situation["exception"]) for situation in situations] == ["watcher"] * 2


def names_of(frame):
    return frame.f_locals


def ask_by_locals(is_inside, may_go_on):
    kept = "here"
    # The first is not held by any name while the other thread looks.
    return locals(), is_inside.release(), may_go_on.acquire(), kept


def ask_for_the_frame(is_inside, may_go_on):
    kept = "here"
    return names_of(sys._getframe()), is_inside.release(), may_go_on.acquire(), kept


def looks_while(function):
    """Return what another thread sees while a function of two locks waits."""
    is_inside, may_go_on = threading.Lock(), threading.Lock()
    is_inside.acquire()
    may_go_on.acquire()
    seen = []
    asking = threading.get_ident()

    def look_in():
        is_inside.acquire()
        try:
            seen.append(look(asking))
        finally:
            may_go_on.release()

    looking = threading.Thread(target=look_in)
    looking.start()
    function(is_inside, may_go_on)
    looking.join()
    return seen


@pytest.mark.parametrize("ask", [ask_by_locals, ask_for_the_frame])
def test_a_function_keeps_the_names_it_has_asked_for_while_it_is_looked_at(ask):
    returned = []
    [(frames, _)] = looks_while(lambda *locks: returned.extend(ask(*locks)))
    assert frames[0][0] is ask.__code__
    assert returned[0]["kept"] == "here"


class Proxy:
    """Stands in for something that is not there in every thread."""

    @property
    def __dict__(self):
        raise RuntimeError("this is no thread to ask in")

    def wait(self, is_inside, may_go_on):
        return is_inside.release(), may_go_on.acquire()


def test_nothing_of_a_class_runs_in_the_thread_that_looks():
    [(frames, kinds)] = looks_while(Proxy().wait)
    assert frames[0][0] is Proxy.wait.__code__
    assert kinds["self"] is Proxy
