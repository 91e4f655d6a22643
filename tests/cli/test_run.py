"""`meantime run`: the program notices no difference, but for its loop."""

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # each test starts a Python or two

ABOUT_ITSELF = """
    import sys
    if __name__ == "__main__":
        spec = __spec__ and __spec__.name
        print(sys.argv, sys.path[0], __file__, __package__, spec, __name__)
        print(sorted(name for name in globals() if name not in ("__cached__", "__annotations__")))
        print(sys.modules["__main__"].__dict__ is globals(), type(__builtins__), __doc__)
        import neighbour
"""


@pytest.fixture
def neighbour(write):
    """A module beside the program, which is found by the first entry of the path."""
    return write("neighbour.py", "print('neighbour')")


def test_a_script_finds_itself_as_under_python(meantime, python, write, neighbour):
    write("program.py", ABOUT_ITSELF)
    words = ["program.py", "a", "--help", "-m", "--backend"]
    done = meantime("run", *words)
    assert done.stdout == python(*words).stdout
    assert done.stderr == ""


def test_a_script_elsewhere_finds_its_neighbours(meantime, python, write):
    write("deep/program.py", ABOUT_ITSELF)
    write("deep/neighbour.py", "print('deep')")
    assert meantime("run", "deep/program.py").stdout == python("deep/program.py").stdout


def test_a_linked_script_finds_the_neighbours_of_the_real_one(meantime, python, write, tmp_path):
    real = write("deep/program.py", ABOUT_ITSELF)
    write("deep/neighbour.py", "print('deep')")
    (tmp_path / "link.py").symlink_to(real)
    assert meantime("run", "link.py").stdout == python("link.py").stdout


@pytest.mark.parametrize("name", ["program", "package", "package.part"])
def test_a_module_finds_itself_as_under_python(meantime, python, write, neighbour, name):
    for file in ("program.py", "package/__main__.py", "package/part.py"):
        write(file, ABOUT_ITSELF)
    write("package/__init__.py", "")
    words = ["-m", name, "a", "-c"]
    done = meantime("run", *words)
    assert done.stdout == python(*words).stdout
    assert "neighbour" in done.stdout


def test_a_directory_with_a_main_module_runs(meantime, python, write):
    write("app/__main__.py", ABOUT_ITSELF)
    write("app/neighbour.py", "")
    assert meantime("run", "app", "x").stdout == python("app", "x").stdout


@pytest.mark.parametrize("words", [["-c", "import sys; print(sys.argv)", "a"], ["-cprint(1)", "a"]])
def test_code_on_the_command_line_runs(meantime, python, words):
    assert meantime("run", *words).stdout == python(*words).stdout


EVERY_WAY_TO_A_LOOP = """
    import asyncio, warnings
    warnings.simplefilter("ignore")

    async def which():
        return type(asyncio.get_running_loop()).__module__.split(".")[0]

    print(asyncio.run(which()))
    with asyncio.Runner() as runner:
        print(runner.run(which()))
    loop = asyncio.new_event_loop()
    print(loop.run_until_complete(which()))
    asyncio.set_event_loop(loop)
    print(asyncio.get_event_loop().run_until_complete(which()))
    loop.close()
"""


def test_every_way_to_a_loop_leads_to_ours(meantime, write):
    write("program.py", EVERY_WAY_TO_A_LOOP)
    assert meantime("run", "program.py").stdout.split() == ["meantime"] * 4


def test_a_loop_made_while_a_package_is_imported_is_ours(meantime, write):
    write("package/__init__.py", "import asyncio; loop = asyncio.new_event_loop(); loop.close()")
    write("package/part.py", "import package; print(type(package.loop).__module__)")
    assert meantime("run", "-m", "package.part").stdout == "meantime.loop.eventloop\n"


def test_the_backend_can_be_chosen(meantime, write, backend):
    write("program.py", "import meantime; print(meantime.backend())")
    assert meantime("run", "--backend", backend, "program.py").stdout == f"{backend}\n"
    assert meantime("run", f"--backend={backend}", "program.py").stdout == f"{backend}\n"


# --- The end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", "0", "3", "None", "'a message'"])
def test_the_exit_status_is_the_programs(meantime, python, write, end):
    write("program.py", f"import sys; sys.exit({end})")
    ours, theirs = meantime("run", "program.py"), python("program.py")
    assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr)


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    raise ValueError('bad')\nf()",
        "this is no Python",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise KeyError('x')",
        "raise ExceptionGroup('several', [ValueError(1)])",
        "import sys\nsys.excepthook = lambda *_: print('my own hook')\n1 / 0",
        "raise KeyboardInterrupt",
    ],
)
def test_an_exception_is_printed_as_under_python(meantime, python, write, text):
    """With the program's own frames only, and with the same exit status."""
    write("program.py", text)
    ours, theirs = meantime("run", "program.py"), python("program.py")
    assert ours.stderr == theirs.stderr
    assert ours.stdout == theirs.stdout
    assert ours.returncode == theirs.returncode


def test_exit_functions_see_the_programs_main(meantime, write):
    write(
        "program.py",
        """
        import atexit, sys
        name = "here"
        atexit.register(lambda: print(sys.modules["__main__"].name))
        """,
    )
    assert meantime("run", "program.py").stdout == "here\n"


def test_classes_of_the_program_can_be_pickled(meantime, write):
    write(
        "program.py",
        """
        import pickle
        class Thing:
            pass
        print(type(pickle.loads(pickle.dumps(Thing()))) is Thing)
        """,
    )
    assert meantime("run", "program.py").stdout == "True\n"


def test_new_processes_find_the_programs_functions(meantime, write):
    write(
        "program.py",
        """
        import multiprocessing
        def double(number):
            return 2 * number
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(double, [21]))
        """,
    )
    assert meantime("run", "program.py").stdout == "[42]\n"


def restore_interrupts():
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_ends_the_program_as_under_python(tmp_path, write):
    """The shell must learn that it was a signal, or a loop in a shell script would go on."""
    write(
        "program.py",
        """
        import asyncio
        async def main():
            try:
                print("ready", flush=True)
                await asyncio.get_running_loop().create_future()
            finally:
                print("cleaned up", flush=True)
        asyncio.run(main())
        """,
    )
    with subprocess.Popen(
        [sys.executable, "-m", "meantime", "run", "program.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the shell runs the tests in its background, the signal is ignored.
        preexec_fn=restore_interrupts,  # noqa: PLW1509 - it takes no lock
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert out == "cleaned up\n"
    assert err.endswith("KeyboardInterrupt\n")
    assert "cli" + os.sep not in err
    assert process.returncode == -signal.SIGINT


# --- What cannot be run ---------------------------------------------------------------------------


def test_a_missing_script_is_named(meantime, python, tmp_path):
    done = meantime("run", "none.py")
    assert done.returncode == python("none.py").returncode == 2
    assert f"can't open file '{tmp_path}/none.py': [Errno 2]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-m", "nonsense"], "No module named nonsense"),
        (["-m", "nonsense.part"], "Error while finding module specification for 'nonsense.part'"),
        (["-m", "package"], "is a package and cannot be directly executed"),
        (["empty"], "can't find '__main__' module in 'empty'"),
    ],
)
def test_a_missing_module_is_named(meantime, python, write, words, message):
    write("package/__init__.py", "")
    write("empty/note.txt", "")
    done = meantime("run", *words)
    assert message in done.stderr
    assert done.returncode == python(*words).returncode == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", [[], ["--backend", "epoll"], ["-m"], ["-c"], ["--backend", "x", "y"]]
)
def test_a_command_without_a_program_is_refused(meantime, words):
    done = meantime("run", *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_wish_that_means_nothing_stops_before_the_program(meantime, write):
    write("program.py", "print('ran')")
    done = meantime("run", "program.py", MEANTIME_BACKEND="kqueue")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Use 'io_uring' or 'epoll'" in done.stderr
