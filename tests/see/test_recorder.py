"""What a recorder counts: how long was waited, for how much at once, and how busy the loop was."""

import asyncio
import gc
import os
import threading
import time
import weakref

import pytest

import meantime
from meantime.see import recorder as module
from meantime.see.recorder import Recorder
from tests.see.corpus.services import PAUSE_S

pytestmark = pytest.mark.slow  # each waits, which is what it is about

# Timers are late on a busy machine, and each thing that is waited for is late for itself.
NEARLY = PAUSE_S / 2


@pytest.fixture
def record(loop):
    """Run a coroutine on a loop, and return what was recorded meanwhile."""

    def record(coroutine):
        recorder = Recorder(looks_part=1)
        recorder.start()
        try:
            loop.run_until_complete(coroutine)
        finally:
            recorder.stop()
        return recorder

    return record


def test_waits_at_once_are_added_up(record):
    async def main():
        await asyncio.gather(*(asyncio.sleep(count * PAUSE_S) for count in (1, 2, 3)))

    figures = record(main()).figures
    assert figures.waited_s == pytest.approx(6 * PAUSE_S, abs=NEARLY)
    assert figures.ran_s == pytest.approx(3 * PAUSE_S, abs=NEARLY)
    assert figures.at_once_max == 3


@pytest.mark.parametrize("way", ["group", "wait", "wait_for", "shield", "as_completed", "task"])
def test_who_waits_for_a_task_is_not_counted_beside_it(record, way):
    """Else main() itself would be one more thing that is waited for."""

    async def main():
        if way == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(PAUSE_S))
            return
        task = asyncio.create_task(asyncio.sleep(PAUSE_S))
        if way == "wait":
            await asyncio.wait([task])
        elif way == "wait_for":
            await asyncio.wait_for(task, 5)
        elif way == "shield":
            await asyncio.shield(task)
        elif way == "as_completed":
            for first in asyncio.as_completed([task]):
                await first
        else:
            await task

    figures = record(main()).figures
    assert figures.at_once_max == 1
    assert figures.waited_s == pytest.approx(PAUSE_S, abs=NEARLY)


@pytest.mark.parametrize("kind", ["lock", "semaphore", "condition", "queue", "event", "barrier"])
def test_who_waits_for_another_task_by_a_lock_or_queue_is_not_counted_beside_it(record, kind):
    async def main():
        lock = {
            "lock": asyncio.Lock,
            "semaphore": asyncio.Semaphore,
            "condition": asyncio.Condition,
            "queue": asyncio.Queue,
            "event": asyncio.Event,
            "barrier": lambda: asyncio.Barrier(2),
        }[kind]()
        first = asyncio.create_task(hold(lock))
        await asyncio.sleep(0)
        await wait_for_it(lock)
        await first

    async def hold(lock):
        if kind in ("lock", "semaphore", "condition"):
            async with lock:
                await asyncio.sleep(PAUSE_S)
                return
        await asyncio.sleep(PAUSE_S)
        if kind == "queue":
            lock.put_nowait(1)
        elif kind == "event":
            lock.set()
        else:
            await lock.wait()

    async def wait_for_it(lock):
        if kind == "queue":
            await lock.get()
        elif kind in ("event", "barrier"):
            await lock.wait()
        else:
            async with lock:
                pass

    figures = record(main()).figures
    assert figures.at_once_max == 1
    assert figures.waited_s == pytest.approx(PAUSE_S, abs=NEARLY)


def test_threads_and_connections_and_programs_are_waited_for(record):
    async def main():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            program = await asyncio.create_subprocess_exec("sleep", str(PAUSE_S))
            await asyncio.gather(asyncio.to_thread(time.sleep, PAUSE_S), ask(port), program.wait())

    async def ask(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b"answer"
        writer.close()
        await writer.wait_closed()

    async def answer(_reader, writer):
        await asyncio.sleep(PAUSE_S)
        writer.write(b"answer")
        writer.close()

    # The fourth is the server's own timer.
    assert record(main()).figures.at_once_max == 4


def test_a_busy_loop_is_told_from_a_waiting_one(record):
    async def main():
        give_up_at = time.monotonic() + PAUSE_S
        while time.monotonic() < give_up_at:
            await asyncio.sleep(0)
        await asyncio.sleep(PAUSE_S)

    recorder = record(main())
    assert recorder.busy_s() == pytest.approx(PAUSE_S, abs=NEARLY)
    assert recorder.figures.slept_s == pytest.approx(PAUSE_S, abs=NEARLY)


def test_places_are_the_last_lines_of_the_users_own(record):
    async def main():
        await asyncio.wait_for(deep(), 5)

    async def deep():
        await asyncio.sleep(PAUSE_S)

    ((code, line), waited_s), *others = record(main()).places.items()
    assert (code.co_name, line - code.co_firstlineno) == ("deep", 1)
    assert waited_s == pytest.approx(PAUSE_S, abs=NEARLY)
    assert others == []


def test_a_task_without_a_line_of_the_users_own_is_named(record):
    async def main():
        await asyncio.gather(asyncio.sleep(PAUSE_S))

    assert list(record(main()).places) == [("sleep", 0)]


def test_loops_in_threads_are_counted_together():
    recorder = Recorder(looks_part=1)
    recorder.start()
    try:
        threads = [
            threading.Thread(target=meantime.run, args=(asyncio.sleep(2 * PAUSE_S),))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        recorder.stop()
    assert recorder.figures.ran_s == pytest.approx(4 * PAUSE_S, abs=2 * NEARLY)
    assert recorder.figures.at_once_max == 2


class Thing:
    def method(self):
        pass


@pytest.mark.parametrize("way", ["object", "method", "function", "attribute", "list"])
def test_nothing_is_kept_alive(record, way):
    """What a program has let go of must be gone, recorded or not."""
    watched = []

    async def main():
        await use(*make())
        gc.collect()
        assert watched.pop()() is None

    def make():
        thing = Thing()
        watched.append(weakref.ref(thing))
        holder = Thing()
        holder.part = thing
        return {
            "object": thing,
            "method": thing.method,
            "function": lambda: thing,
            "attribute": holder,
            "list": [thing],
        }[way], 1

    async def use(held, _number):
        await asyncio.sleep(PAUSE_S / 5)
        del held
        gc.collect()
        assert watched[0]() is None
        await asyncio.sleep(0)

    record(main())


def test_many_tasks_are_counted_by_a_part_of_them(record, monkeypatch):
    """A look at all of them would hold up the loop."""
    monkeypatch.setattr(module, "TASKS_FOLLOWED_MAX", 64)

    async def main():
        async with asyncio.TaskGroup() as group:
            for _ in range(1000):
                group.create_task(asyncio.sleep(PAUSE_S))

    recorder = record(main())
    assert recorder.figures.waited_s == pytest.approx(1000 * PAUSE_S, rel=0.5)


def test_looks_are_few_where_sleeps_are_short(loop):
    """With many short sleeps, most are only added up."""
    looks = []

    class Counting(Recorder):
        def look(self, loop, spent_s):
            looks.append(spent_s)
            super().look(loop, spent_s)

    async def main():
        for _ in range(2000):
            await asyncio.sleep(0.00005)

    recorder = Counting(looks_part=0.003)
    recorder.start()
    try:
        loop.run_until_complete(main())
    finally:
        recorder.stop()
    assert 0 < len(looks) < 1000
    # The last short ones stand for themselves alone, and are not looked at.
    assert 0 < sum(looks) <= recorder.figures.slept_s * 1.001


def test_a_recorder_that_is_stopped_records_no_more(record, loop):
    recorder = record(asyncio.sleep(0))
    before = recorder.figures.run_count
    loop.run_until_complete(asyncio.sleep(0))
    assert recorder.figures.run_count == before
    recorder.stop()


def test_a_forked_child_is_not_recorded():
    recorder = Recorder()
    recorder.start()
    try:
        pid = os.fork()
        if pid == 0:
            meantime.run(asyncio.sleep(0))
            os._exit(recorder.figures.run_count)
        _, status = os.waitpid(pid, 0)
    finally:
        recorder.stop()
    assert status == 0
