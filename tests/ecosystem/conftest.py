"""What the ecosystem tests share: a runner on each poller, and servers that are started once."""

import asyncio
import functools

import pytest

import meantime
from tests.ecosystem.servers import redis_server


@pytest.fixture
def run(backend):
    """Run a coroutine as programs do: with asyncio's runner and our loop factory."""
    with asyncio.Runner(
        loop_factory=functools.partial(meantime.EventLoop, backend=backend)
    ) as runner:
        yield runner.run


@pytest.fixture(scope="session")
def redis_port():
    with redis_server() as port:
        yield port
