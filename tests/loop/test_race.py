"""Happy Eyeballs, without a network: attempts are futures."""

import asyncio

import pytest

from meantime.loop.race import Race

LONG_S = 1000.0


class Attempts:
    """Each attempt is a future that the test sets, and notes when it was begun."""

    def __init__(self, loop, count):
        self.futures = [loop.create_future() for _ in range(count)]
        self.begun = []
        self.discarded = []
        self.race = lambda delay_s: Race(
            loop,
            [lambda n=n: self.attempt(n) for n in range(count)],
            delay_s,
            self.discarded.append,
        )

    async def attempt(self, number):
        self.begun.append(number)
        return await self.futures[number]


def test_a_quick_answer_starts_nothing_else(loop):
    attempts = Attempts(loop, 2)
    attempts.futures[0].set_result("first")
    assert loop.run_until_complete(attempts.race(LONG_S).run()) == "first"
    assert attempts.begun == [0]


def test_a_failure_starts_the_next_at_once(loop):
    attempts = Attempts(loop, 2)
    attempts.futures[0].set_exception(OSError())
    attempts.futures[1].set_result("second")
    assert loop.run_until_complete(attempts.race(LONG_S).run()) == "second"


def test_silence_starts_the_next_after_the_delay(loop):
    attempts = Attempts(loop, 2)
    attempts.futures[1].set_result("second")
    assert loop.run_until_complete(attempts.race(0.001).run()) == "second"
    assert attempts.begun == [0, 1]
    assert attempts.futures[0].cancelled()


def test_a_slow_first_may_still_win(loop):
    attempts = Attempts(loop, 2)

    async def race():
        task = asyncio.create_task(attempts.race(0.001).run())
        while len(attempts.begun) < 2:
            await asyncio.sleep(0)
        attempts.futures[1].set_exception(OSError())
        await asyncio.sleep(0)
        attempts.futures[0].set_result("first")
        return await task

    assert loop.run_until_complete(race()) == "first"


def test_two_winners_in_one_turn_leave_one_socket(loop):
    """The other one would stay open for ever, with a server waiting at its end."""
    attempts = Attempts(loop, 2)

    async def race():
        task = asyncio.create_task(attempts.race(0.001).run())
        while len(attempts.begun) < 2:
            await asyncio.sleep(0)
        attempts.futures[0].set_result("first")
        attempts.futures[1].set_result("second")
        return await task

    assert loop.run_until_complete(race()) == "first"
    assert attempts.discarded == ["second"]


def test_nobody_wins_when_all_fail(loop):
    attempts = Attempts(loop, 3)
    for future in attempts.futures:
        future.set_exception(OSError())
    assert loop.run_until_complete(attempts.race(LONG_S).run()) is None
    assert attempts.begun == [0, 1, 2]


def test_a_bug_is_not_taken_for_a_bad_address(loop):
    attempts = Attempts(loop, 2)
    attempts.futures[0].set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        loop.run_until_complete(attempts.race(LONG_S).run())


def test_cancelling_the_race_cancels_the_attempts(loop):
    attempts = Attempts(loop, 2)

    async def race():
        task = asyncio.create_task(attempts.race(0.001).run())
        while len(attempts.begun) < 2:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    loop.run_until_complete(race())
    assert all(future.cancelled() for future in attempts.futures)
