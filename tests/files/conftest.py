"""What the tests of files share: any loop, run to the end, with its threads ended."""

import pytest


@pytest.fixture
def run(any_loop):
    """Run a coroutine on asyncio's loop and on ours, and end the loop's threads after that."""
    yield any_loop.run_until_complete
    any_loop.run_until_complete(any_loop.shutdown_asyncgens())
    any_loop.run_until_complete(any_loop.shutdown_default_executor())
