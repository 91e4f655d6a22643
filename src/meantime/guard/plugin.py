"""The plugin for pytest: the marker and the fixture `meantime_guard`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from meantime.errors import GuardError
from meantime.guard.guarding import guard

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKER = "meantime_guard"
LINE = (
    f"{MARKER}(threshold_s=0.05): fail the test if guard finds anything in it: a blocked event "
    "loop, a forgotten await, a lost exception"
)


def pytest_configure(config: Any) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", LINE)


@pytest.hookimpl(hookwrapper=True)
def pytest_pyfunc_call(pyfuncitem: Any) -> Iterator[None]:
    """Run a marked test under guard, which raises at its end what it has found."""
    marker = pyfuncitem.get_closest_marker(MARKER)
    if marker is None:
        yield
        return
    watched = guard(*marker.args, **{"action": "raise", **marker.kwargs}).begin()
    outcome: Any = yield
    watched.end()
    if outcome.excinfo is None:
        try:
            watched.raise_what_was_found()
        except GuardError as error:
            outcome.force_exception(error)


@pytest.fixture
def meantime_guard() -> Iterator[guard]:
    """Watch during the test; what was found is in `meantime_guard.findings`."""
    found: list[object] = []
    with guard(action=found.append) as watched:
        yield watched
