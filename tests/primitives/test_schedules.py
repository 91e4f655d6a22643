"""Any program does the same with meantime's primitives as with asyncio's, step by step."""

import asyncio
import gc
import types
from collections import defaultdict

import pytest
from hypothesis import given, settings

import meantime
from tests.primitives.schedules import CANCELLATIONS, ORDERED, PRIMITIVES, Performance, programs

NAMES = [
    "sleep", "wait_for", "timeout", "shield", "gather", "wait", "as_completed", "TaskGroup",
]  # fmt: skip
THEIRS = types.SimpleNamespace(**{name: getattr(asyncio, name) for name in NAMES})
OURS = types.SimpleNamespace(**{name: getattr(meantime, name) for name in NAMES})

# A program may refuse a coroutine, or be cancelled before it awaits it.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]


@pytest.mark.parametrize("is_debugged", [False, True], ids=["directly", "by methods"])
@pytest.mark.parametrize("kind", PRIMITIVES)
def test_everything_happens_as_with_asyncios(kind, is_debugged):
    """In debug mode the loop is spoken to by its methods, as loops are that are not ours."""

    @settings(max_examples=150, deadline=None)
    @given(programs(kind), CANCELLATIONS)
    def compare(root, cancellations):
        theirs = Performance(THEIRS, is_debugged, True).run(root, cancellations)
        ours = Performance(OURS, is_debugged, True).run(root, cancellations)
        assert ours == theirs

    compare()
    gc.collect()


@pytest.mark.parametrize("kind", ORDERED)
def test_every_task_lives_as_with_asyncios(kind):
    """With plain tasks, which have ways of their own. A group has no certain order then."""

    @settings(max_examples=150, deadline=None)
    @given(programs(kind, ORDERED), CANCELLATIONS)
    def compare(root, cancellations):
        theirs = Performance(THEIRS, False, False).run(root, cancellations)
        ours = Performance(OURS, False, False).run(root, cancellations)
        assert by_task(ours) == by_task(theirs)

    compare()
    gc.collect()


def by_task(trace):
    lives = defaultdict(list)
    for label, *what in trace:
        lives[label].append(what)
    return lives
