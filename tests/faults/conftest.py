"""The core among faults."""

import pytest

from tests.faults.injector import Faults, NoCompilerError, library


@pytest.fixture(scope="session")
def compiled():
    try:
        library()
    except NoCompilerError as error:
        pytest.skip(str(error))


@pytest.fixture
def faults(compiled):
    """A plan of faults for the core, empty at first, and gone at the end."""
    with Faults() as faults:
        yield faults
