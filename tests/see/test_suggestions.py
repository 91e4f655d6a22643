"""Awaits one after the other: those that need not be are found, and no others."""

import asyncio

import pytest

from meantime.see.recorder import Recorder
from meantime.see.suggestions import suggestions
from tests.see.corpus import right, wrong
from tests.see.corpus.services import PAUSE_S


def name_of(value):
    return getattr(value, "__name__", "")


RIGHT = right.FUNCTIONS
WRONG = [function for function, _ in wrong.WANTED]


async def run_all():
    """Run each function of the corpus once, all at the same time."""
    # These belong to the loop that first uses them.
    right.LOCK, right.SEMAPHORE = asyncio.Lock(), asyncio.Semaphore(1)
    async with asyncio.TaskGroup() as group:
        for function in (*RIGHT, *WRONG):
            group.create_task(function())


def outermost(suggestion):
    """Return the name of the function at the top of its file that a suggestion is about."""
    return suggestion.function.partition(".")[0]


@pytest.fixture(scope="module")
def found():
    """What is suggested, by the name of the function."""
    return {}


@pytest.fixture
def suggested(loop, found, request):
    """What is suggested after a run of everything on a loop; each backend runs it once."""
    backend = request.getfixturevalue("backend")
    if backend not in found:
        # However slow the machine is: this is not about the price.
        recorder = Recorder(looks_part=1)
        recorder.start()
        try:
            loop.run_until_complete(run_all())
        finally:
            recorder.stop()
        found[backend] = suggestions(recorder.calls)
    return found[backend]


@pytest.mark.slow
@pytest.mark.parametrize("function", RIGHT, ids=name_of)
def test_what_must_be_in_order_is_not_accused(suggested, function):
    assert [each for each in suggested if outermost(each) == function.__name__] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "saved_s"), wrong.WANTED, ids=lambda value: getattr(value, "__name__", "")
)
def test_what_could_be_at_once_is_found_with_its_seconds(suggested, function, saved_s):
    found = [each for each in suggested if outermost(each) == function.__name__]
    assert len(found) == 1
    assert found[0].saved_s == pytest.approx(saved_s, abs=0.8 * PAUSE_S)
    assert found[0].file == function.__code__.co_filename
    assert "gather(" in found[0].instead


@pytest.mark.slow
def test_nobody_else_is_accused(suggested):
    """What the functions of the corpus call is right as well."""
    names = {function.__name__ for function in WRONG}
    assert [each.function for each in suggested if outermost(each) not in names] == []


def test_the_corpus_is_as_large_as_it_should_be():
    assert len(RIGHT) >= 20
    assert len(WRONG) >= 10
