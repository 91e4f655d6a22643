"""CapacityLimiter: so many at once, in the order of asking, over all loops of a process."""

import asyncio
import threading

import pytest

import meantime


def test_it_lets_so_many_in_and_the_others_wait_in_line(any_loop):
    limiter = meantime.CapacityLimiter(2)
    entered = []

    async def enter(number, release):
        async with limiter:
            entered.append(number)
            await release.wait()

    async def main():
        release = [asyncio.Event() for _ in range(4)]
        tasks = [asyncio.ensure_future(enter(number, release[number])) for number in range(4)]
        await turns()
        assert entered == [0, 1]
        assert limiter.available == 0
        release[1].set()
        await turns()
        assert entered == [0, 1, 2]
        for event in release:
            event.set()
        await asyncio.gather(*tasks)

    any_loop.run_until_complete(main())
    assert entered == [0, 1, 2, 3]
    assert limiter.available == 2


def test_whoever_is_cancelled_in_line_takes_no_token(any_loop):
    limiter = meantime.CapacityLimiter(1)

    async def main():
        await limiter.acquire()
        first, second = (asyncio.ensure_future(limiter.acquire()) for _ in range(2))
        await turns()
        first.cancel()
        limiter.release()
        await second
        assert first.cancelled()
        assert limiter.available == 0
        limiter.release()

    any_loop.run_until_complete(main())
    assert limiter.available == 1


def test_a_token_given_to_one_that_is_cancelled_at_once_goes_to_the_next(any_loop):
    limiter = meantime.CapacityLimiter(1)

    async def main():
        await limiter.acquire()
        first, second = (asyncio.ensure_future(limiter.acquire()) for _ in range(2))
        await turns()
        limiter.release()  # first is served, but has not run since
        first.cancel()
        await asyncio.wait_for(second, 5)
        limiter.release()

    any_loop.run_until_complete(main())
    assert limiter.available == 1


def test_raising_the_total_lets_those_in_line_go_on(any_loop):
    limiter = meantime.CapacityLimiter(1)

    async def main():
        await limiter.acquire()
        waiting = asyncio.ensure_future(limiter.acquire())
        await turns()
        assert not waiting.done()
        limiter.total = 2
        await waiting
        limiter.total = 1
        assert limiter.available == -1

    any_loop.run_until_complete(main())


def test_loops_in_several_threads_share_it():
    limiter = meantime.CapacityLimiter(3)
    inside, most, lock = 0, 0, threading.Lock()

    async def enter():
        nonlocal inside, most
        async with limiter:
            with lock:
                inside += 1
                most = max(most, inside)
            await asyncio.sleep(0)
            with lock:
                inside -= 1

    async def main():
        await asyncio.gather(*(enter() for _ in range(200)))

    threads = [threading.Thread(target=lambda: meantime.run(main())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside == 0
    assert 1 <= most <= 3
    assert limiter.available == 3


def test_what_means_nothing_is_refused():
    with pytest.raises(ValueError, match="Use 1 or more"):
        meantime.CapacityLimiter(0)
    limiter = meantime.CapacityLimiter(1)
    with pytest.raises(ValueError, match="Use 1 or more"):
        limiter.total = 0
    with pytest.raises(RuntimeError, match="no token is taken"):
        limiter.release()
    with pytest.raises(ValueError, match="no limiter of 'moon'"):
        meantime.default_limiter("moon")


def test_each_kind_has_a_default_limiter_that_can_be_changed():
    limiter = meantime.default_limiter("process")
    before = limiter.total
    assert before >= 1
    limiter.total = before + 1
    assert meantime.default_limiter("process").total == before + 1
    limiter.total = before


async def turns():
    """Let everything happen that is due."""
    for _ in range(5):
        await asyncio.sleep(0)
