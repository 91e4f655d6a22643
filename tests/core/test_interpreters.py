"""Subinterpreters: the core serves the first interpreter that imports it, and says so to others.

Each program runs in a process of its own, since what is tested is that it does not crash.
"""

import subprocess
import sys
import textwrap

import pytest

# How to make an interpreter, and to run a text in it: the module's name and shape have changed
# with each version of Python, and it has no public name before 3.14.
PRELUDE = """
import sys

if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters

def make(kind):
    if sys.version_info >= (3, 13):
        return interpreters.create(kind)
    return interpreters.create(isolated=kind == "isolated")

def run(interpreter, text):
    if sys.version_info >= (3, 13):
        failure = interpreters.exec(interpreter, text)
        return failure.formatted if failure else ""
    try:
        interpreters.run_string(interpreter, text)
    except Exception as error:
        return str(error)
    return ""
"""

ECHO = """
import asyncio, meantime

async def main():
    async def answer(reader, writer):
        writer.write(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello")
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()

meantime.run(main())
"""


def run_program(text):
    """Run a program that may use PRELUDE and ECHO. Returns what it printed."""
    head = PRELUDE + f"\nECHO = {ECHO!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(text)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# An editable install asks ninja at each import whether something has changed. An isolated
# interpreter of 3.11 may start no process, so there the import fails before it has begun.
IS_EDITABLE = any(type(finder).__name__ == "MesonpyMetaFinder" for finder in sys.meta_path)
isolated = pytest.param(
    "isolated",
    marks=pytest.mark.skipif(
        IS_EDITABLE and sys.version_info < (3, 12),
        reason="an editable install cannot be imported in an isolated interpreter of 3.11",
    ),
)
kinds = pytest.mark.parametrize("kind", [isolated, "legacy"])


@kinds
@pytest.mark.parametrize("is_used", [False, True])
def test_a_subinterpreter_is_refused_with_the_way_out(kind, is_used):
    """It neither crashes nor falls back to another loop without a word."""
    said = run_program(f"""
        if {is_used}:
            exec(ECHO)
        else:
            import meantime
        other = make({kind!r})
        print(run(other, "import meantime"))
        interpreters.destroy(other)
        exec(ECHO)
        print("the first one goes on")
    """)
    assert "ImportError" in said
    assert "subinterpreter" in said
    assert "process" in said
    assert "the first one goes on" in said


@kinds
def test_asyncio_itself_works_in_a_subinterpreter_beside_ours(kind):
    said = run_program(f"""
        exec(ECHO)
        other = make({kind!r})
        print(run(other, ECHO.replace("meantime", "asyncio")) or "fine")
        interpreters.destroy(other)
        exec(ECHO)
    """)
    assert said.strip() == "fine"


@kinds
def test_many_attempts_in_many_interpreters_leave_the_first_as_it_was(kind):
    run_program(f"""
        import meantime
        for _ in range(5):
            other = make({kind!r})
            for _ in range(3):
                assert "ImportError" in run(other, "import meantime")
                assert "ImportError" in run(other, "import meantime._core.transport")
            interpreters.destroy(other)
        exec(ECHO)
    """)


def test_an_isolated_interpreter_that_asks_first_takes_nothing_away():
    """Refused there, the core can still be imported where it belongs."""
    run_program("""
        other = make("isolated")
        run(other, "import meantime")
        interpreters.destroy(other)
        if sys.version_info >= (3, 12):
            exec(ECHO)
        if sys.version_info[:2] == (3, 12):
            # When asyncio is first imported in an isolated interpreter, 3.12.1 frees a wrong
            # pointer as the process ends, also in a program that knows nothing of meantime.
            import os

            os._exit(0)
    """)
