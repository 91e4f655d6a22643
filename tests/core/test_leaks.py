"""Doing the same thing again and again keeps nothing: neither references nor memory of C."""

import pytest

from tests.core import leaks


@pytest.mark.slow
@pytest.mark.parametrize("scenario", leaks.SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_nothing_grows_with_the_rounds(backend, scenario):
    assert leaks.growth(backend, scenario, repeats=120) == {}


@pytest.mark.slow
def test_a_leak_is_seen(backend):
    kept = []
    assert leaks.growth(backend, lambda loop: kept.append(loop.call_soon(int)))
    kept.clear()
