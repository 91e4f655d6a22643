"""A call in a subinterpreter, where this Python has them."""

import asyncio
import json
import pickle
import sys
import threading
import time

import pytest

import meantime
from meantime.offload.interpreters import INTERPRETERS
from tests.offload import work

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.version_info < (3, 14), reason="interpreters came with Python 3.14"),
]


@pytest.fixture
def loop_of_interpreters(any_loop):
    """A loop; the interpreters and its threads are ended after the test."""
    yield any_loop
    any_loop.run_until_complete(any_loop.shutdown_default_executor())
    INTERPRETERS.stop()


def test_a_function_runs_in_another_interpreter_of_this_process(loop_of_interpreters):
    (pid, args, keywords), modules = loop_of_interpreters.run_until_complete(
        asyncio.wait_for(both(), 30)
    )
    import os

    assert pid == os.getpid()
    assert (args, keywords) == ((1,), {"two": 3})
    assert "meantime" not in modules


async def both():
    def modules():
        return [name for name in sys.modules if name == "meantime"]

    return (
        await meantime.to_interpreter(work.who_and_what, 1, two=3),
        await meantime.to_interpreter(modules),
    )


def test_an_interpreter_is_kept_for_the_next_call(loop_of_interpreters):
    async def main():
        for _ in range(5):
            await meantime.to_interpreter(abs, -1)

    loop_of_interpreters.run_until_complete(main())
    assert len(INTERPRETERS.idle) == 1


def test_context_variables_are_carried(loop_of_interpreters):
    async def main():
        work.REQUEST.set("request 7")
        return await meantime.to_interpreter(work.request)

    assert loop_of_interpreters.run_until_complete(main()) == "request 7"


def test_exceptions_come_back_with_their_traceback(loop_of_interpreters):
    with pytest.raises(json.JSONDecodeError) as caught:
        loop_of_interpreters.run_until_complete(meantime.to_interpreter(json.loads, "[1"))
    assert "decoder.py" in str(caught.value.__cause__)


def test_what_cannot_be_sent_is_refused(loop_of_interpreters):
    for call in (
        meantime.to_interpreter(len, threading.Lock()),
        meantime.to_interpreter(threading.Lock),
    ):
        with pytest.raises(pickle.PicklingError):
            loop_of_interpreters.run_until_complete(call)


def test_sys_exit_ends_that_interpreter_only(loop_of_interpreters):
    with pytest.raises(meantime.WorkerFunctionError, match="ended its interpreter: SystemExit: 4"):
        loop_of_interpreters.run_until_complete(meantime.to_interpreter(work.exit_politely))
    assert loop_of_interpreters.run_until_complete(meantime.to_interpreter(abs, -4)) == 4


def test_a_timeout_ends_the_wait_and_the_call_keeps_its_place(loop_of_interpreters):
    limiter = meantime.CapacityLimiter(1)

    async def main():
        await meantime.to_interpreter(abs, -1, limiter=limiter)
        with pytest.raises(TimeoutError, match="Use where='process'"):
            await meantime.to_interpreter(time.sleep, 0.5, timeout=0.05, limiter=limiter)
        held = limiter.available
        async with limiter:
            return held

    assert loop_of_interpreters.run_until_complete(main()) == 0


def test_progress_cannot_be_heard(loop_of_interpreters):
    with pytest.raises(ValueError, match="no way to hear"):
        meantime.offload(abs, -1, where="interpreter", on_progress=print)


def test_many_items_travel_in_batches(loop_of_interpreters):
    async def main():
        items = meantime.offload_map(work.double, range(1000), where="interpreter")
        return [result async for result in items]

    assert loop_of_interpreters.run_until_complete(main()) == [2 * n for n in range(1000)]
