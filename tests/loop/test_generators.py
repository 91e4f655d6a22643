"""Asynchronous generators that a program leaves in the middle."""

import asyncio
import gc
import sys

import pytest


async def count(log):
    try:
        for number in range(10):
            yield number
    finally:
        await asyncio.sleep(0)
        log.append("closed")


def test_shutdown_closes_what_is_still_open(loop):
    log = []

    async def leave_in_the_middle():
        generator = count(log)
        await anext(generator)
        return generator

    generator = loop.run_until_complete(leave_in_the_middle())
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert log == ["closed"]
    del generator


def test_a_dropped_generator_is_closed_by_the_loop(loop):
    """Its finally awaits, which only the loop can do for it."""
    log = []

    async def drop():
        await anext(count(log))
        gc.collect()
        for _ in range(3):
            await asyncio.sleep(0)

    loop.run_until_complete(drop())
    assert log == ["closed"]


def test_an_error_while_closing_goes_to_the_handler(loop):
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))

    async def stubborn():
        try:
            yield
        finally:
            raise ZeroDivisionError

    async def leave_in_the_middle():
        generator = stubborn()
        await anext(generator)
        return generator

    generator = loop.run_until_complete(leave_in_the_middle())
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert contexts[0]["asyncgen"] is generator
    assert isinstance(contexts[0]["exception"], ZeroDivisionError)


def test_a_generator_that_begins_after_the_shutdown_is_warned_about(loop):
    async def begin():
        generator = count([])
        with pytest.warns(ResourceWarning, match="was scheduled after"):
            await anext(generator)
        await generator.aclose()

    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(begin())


def test_the_hooks_of_the_thread_come_back(loop):
    before = sys.get_asyncgen_hooks()
    loop.run_until_complete(asyncio.sleep(0))
    assert sys.get_asyncgen_hooks() == before
