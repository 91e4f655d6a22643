"""The scripted loop, what was handed to an exception handler, and the TLS engines."""

import pytest

from meantime._core import tls_engine
from tests.core.scripted import ScriptedLoop


@pytest.fixture
def scripted():
    """A loop whose events and clock come from the test. No callback of it may fail."""
    loop = ScriptedLoop()
    yield loop
    loop.close()
    assert loop.failures == []


@pytest.fixture
def failures(any_loop):
    """What was handed to the exception handler of `any_loop`."""
    situations = []
    any_loop.set_exception_handler(lambda _loop, situation: situations.append(situation))
    return situations


@pytest.fixture(params=["direct", "portable"])
def engine(request):
    """Each TLS engine in turn, for the connections that the test makes."""
    reason = tls_engine.find_obstacle()
    if request.param == "direct" and reason is not None:
        pytest.skip(reason)
    tls_engine.choose_engine(request.param)
    yield request.param
    tls_engine.choose_engine()
