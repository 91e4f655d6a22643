"""Doing the same thing again and again keeps nothing: neither references nor memory of C."""

import sys

import pytest

from tests.core import leaks


@pytest.mark.slow
@pytest.mark.parametrize("scenario", leaks.SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_nothing_grows_with_the_rounds(backend, scenario):
    assert leaks.growth(backend, scenario, repeats=120) == {}


@pytest.mark.slow
def test_a_leak_is_seen(backend):
    kept = []
    # Python counts no blocks while all its memory is malloc's, as a sanitizer wants it.
    name = "blocks" if sys.getallocatedblocks() else "handles"
    assert name in leaks.growth(backend, lambda loop: kept.append(loop.call_soon(int)))
    kept.clear()
