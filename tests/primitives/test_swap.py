"""install() and `meantime run` put our primitives in the place of asyncio's, and take them back."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import meantime
from meantime import primitives
from meantime.primitives.swap import modules_of_asyncio

ROOT = Path(__file__).parents[2]
IN_ASYNCIO = [name for name in primitives.__all__ if hasattr(asyncio, name)]

# The programs whose own use of asyncio's names is tried with ours in their place.
PROGRAMS = ["aiohttp", "asyncpg", "fastapi", "httpx", "redis", "uvicorn"]


def names_in_asyncio():
    """Return everything that asyncio's modules name."""
    return {module.__name__: dict(vars(module)) for module in modules_of_asyncio()}


@pytest.fixture
def installed():
    meantime.install()
    yield
    meantime.uninstall()


@pytest.mark.parametrize("name", IN_ASYNCIO)
def test_installed_asyncios_name_is_ours_in_each_of_its_modules(name):
    theirs = getattr(asyncio, name)
    ours = getattr(meantime, name)
    meantime.install()
    try:
        assert getattr(asyncio, name) is ours
        for module, names in names_in_asyncio().items():
            assert names.get(name, ours) is ours, module
    finally:
        meantime.uninstall()
    assert getattr(asyncio, name) is theirs


def test_uninstalled_asyncio_is_what_it_was():
    before = names_in_asyncio()
    meantime.install()
    meantime.install()
    meantime.uninstall()
    after = names_in_asyncio()
    for module, names in before.items():
        changed = [name for name, value in names.items() if after[module].get(name) is not value]
        assert not changed, module
        assert set(after[module]) == set(names)


def test_what_another_library_has_replaced_since_stays(monkeypatch):
    async def theirs(delay, result=None):
        return result

    meantime.install()
    monkeypatch.setattr(asyncio, "sleep", theirs)
    meantime.uninstall()
    assert asyncio.sleep is theirs
    assert asyncio.tasks.sleep is not meantime.sleep


def test_a_program_that_imports_asyncio_waits_with_ours(installed):
    async def main():
        queue = asyncio.Queue()
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            getting = group.create_task(queue.get())
            await asyncio.sleep(0)
            queue.put_nowait("item")
        reader = asyncio.StreamReader()
        reader.feed_data(b"line\n")
        return type(queue), type(group), getting.result(), await reader.readline()

    assert asyncio.run(main()) == (meantime.Queue, meantime.TaskGroup, "item", b"line\n")


def test_a_process_is_read_by_our_streams(installed):
    async def main():
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe)
        assert type(process.stdout) is meantime.StreamReader
        return await process.communicate(b"through a child")

    assert asyncio.run(main()) == (b"through a child", None)


def test_the_command_line_installs_before_the_program_is_imported(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from asyncio import Queue, gather\nprint(Queue, gather.__module__)\n")
    command = [sys.executable, "-m", "meantime", "run", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{meantime.Queue} {meantime.gather.__module__}\n"


@pytest.mark.parametrize(
    "name", ["Condition", "Event", "LifoQueue", "Lock", "Queue", "Semaphore", "TaskGroup"]
)
def test_what_was_made_after_passes_the_checks_of_what_was_imported_before(name):
    """A library keeps asyncio's class for isinstance, and is given an object that is ours."""
    theirs = getattr(asyncio, name)
    meantime.install()
    try:
        ours = getattr(asyncio, name)
        made = ours()
    finally:
        meantime.uninstall()
    assert ours is not theirs
    assert isinstance(made, theirs)
    assert isinstance(made, ours)
    assert type(made) is ours

    class Own(ours):
        pass

    assert Own().__class__ is Own


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_tests_of_programs_pass_with_ours(program):
    """In a process of their own, so that the libraries find our names when they are imported."""
    tests = f"tests/ecosystem/test_{program}.py"
    command = [sys.executable, "-m", "meantime", "run", "-m", "pytest", "-q", tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
