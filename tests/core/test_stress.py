"""Threads do everything at once to several loops: a short run of what `make stress` does."""

import asyncio

import pytest

from tests.core.stress import stress


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_when_threads_do_everything_at_once(backend, seed):
    try:
        stress(backend, seed, calls=200, races=2)
    finally:
        asyncio.set_event_loop(None)
