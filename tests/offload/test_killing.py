"""Workers are killed at random under load: every job ends once, with its result or an error."""

import asyncio
import os
import random
import signal
import time
from collections import Counter

import pytest

import meantime
from meantime.offload.pool import POOL
from tests.offload import noting
from tests.offload.conftest import open_fd_count, shared_memory

numpy = pytest.importorskip("numpy")

SECONDS = float(os.environ.get("MEANTIME_KILL_SECONDS", "60"))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
def test_every_job_ends_once_while_workers_are_killed_at_random(any_loop, tmp_path):
    seconds = SECONDS / 3  # there are three loops
    chance = random.Random(7)
    path = tmp_path / "done"
    limiter = meantime.CapacityLimiter(4)
    outcomes = {}
    kinds = Counter()
    any_loop.run_until_complete(asyncio.sleep(0))
    fds_before = open_fd_count()

    async def job(number):
        if number % 8 == 0:
            data = numpy.full(chance.choice([10, 10_000, 300_000]), number)
        else:
            data = number.to_bytes(4, "big") * chance.choice([1, 10_000, 500_000])
        wants_cancel = chance.random() < 0.1
        call = asyncio.ensure_future(
            meantime.to_process(
                noting.note_and_work,
                str(path),
                number,
                data,
                chance.random() * 0.02,
                limiter=limiter,
                timeout=chance.choice([None] * 9 + [0.02]),
            )
        )
        if wants_cancel:
            any_loop.call_later(chance.random() * 0.05, call.cancel)
        try:
            returned, same = await call
        except (meantime.WorkerDiedError, TimeoutError, asyncio.CancelledError) as error:
            outcome = type(error).__name__
        else:
            assert returned == number
            assert numpy.array_equal(same, data)
            outcome = "result"
        assert number not in outcomes, "a job ended twice"
        outcomes[number] = outcome
        kinds[outcome] += 1

    async def kill():
        while True:
            await asyncio.sleep(chance.random() * 0.3)
            workers = [*POOL.busy, *POOL.idle]
            if workers:
                victim = chance.choice(workers)
                if victim.pid:
                    number = chance.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
                    try:
                        os.kill(victim.pid, number)
                    except ProcessLookupError:
                        pass

    async def main():
        killer = asyncio.ensure_future(kill())
        started = 0
        end = time.monotonic() + seconds
        running = set()
        while time.monotonic() < end:
            while len(running) < 12:
                running.add(asyncio.ensure_future(job(started)))
                started += 1
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        await asyncio.gather(*running)
        killer.cancel()
        return started

    started = any_loop.run_until_complete(main())
    assert sorted(outcomes) == list(range(started)), "a job was lost"
    done = Counter(int(line) for line in path.read_text().splitlines())
    assert max(done.values()) == 1, "a job was done twice"
    assert all(done[number] == 1 for number, what in outcomes.items() if what == "result")
    assert kinds["result"] > 10
    assert kinds["WorkerDiedError"] > 10
    assert limiter.available == 4
    meantime.stop_workers()
    assert not POOL.busy
    assert not POOL.idle
    assert not POOL.dying
    assert not shared_memory()
    assert open_fd_count() == fds_before
