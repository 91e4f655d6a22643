"""The report of `meantime run`: when it comes, what it says, and that nothing else changes."""

import json
import os
import pty
import re
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # each test starts a Python or two

WAITS = """
    import asyncio
    async def main():
        await asyncio.gather(cook(0.2), cook(0.1))
        print("done")
    async def cook(seconds):
        await asyncio.sleep(seconds)
    asyncio.run(main())
"""
SUMMARY = re.compile(r"Waited 0\.\d+ s in 0\.\d+ s: up to 2 things at once, \d\.\d on average\.")


@pytest.fixture
def on_terminal(tmp_path):
    """Run `meantime …` with a terminal for its errors; return its status and what it shows."""

    def run(*words, **environment):
        ours, theirs = pty.openpty()
        try:
            with subprocess.Popen(
                [sys.executable, "-m", "meantime", *words],
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=theirs,
                env={**os.environ, "TERM": "xterm", **environment},
            ) as process:
                os.close(theirs)
                shown = read_to_end(ours)
        finally:
            os.close(ours)
        return process.returncode, shown.replace("\r\n", "\n")

    return run


def read_to_end(descriptor):
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts).decode()


@pytest.fixture
def start(tmp_path):
    """Start `meantime …`, with a SIGINT that does what it does in a terminal."""

    def start(*words):
        return subprocess.Popen(
            [sys.executable, "-m", "meantime", *words],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            preexec_fn=restore_interrupts,  # noqa: PLW1509 - it takes no lock
        )

    return start


def restore_interrupts():
    signal.signal(signal.SIGINT, signal.default_int_handler)


# --- When it comes --------------------------------------------------------------------------------


def test_on_a_terminal_the_short_report_comes_by_itself(on_terminal, write):
    write("program.py", WAITS)
    status, shown = on_terminal("run", "program.py", NO_COLOR="1")
    assert status == 0
    assert shown.startswith("\n-- meantime ---")
    assert SUMMARY.search(shown)
    assert "Nothing held it up, and nothing was left behind." in shown


def test_a_terminal_gets_colours_unless_it_wants_none(on_terminal, write):
    write("program.py", WAITS)
    assert "\x1b[1m" in on_terminal("run", "program.py", NO_COLOR="")[1]
    assert "\x1b[" not in on_terminal("run", "program.py", NO_COLOR="1")[1]
    assert "\x1b[" not in on_terminal("run", "program.py", NO_COLOR="", TERM="dumb")[1]


def test_logs_and_pipes_get_none_that_nobody_asked_for(meantime, write):
    write("program.py", WAITS)
    done = meantime("run", "program.py")
    assert (done.stdout, done.stderr) == ("done\n", "")


@pytest.mark.parametrize("words", [["--report", "short"], ["--report=short"], ["--report=full"]])
def test_it_comes_anywhere_when_it_is_asked_for(meantime, write, words):
    write("program.py", WAITS)
    done = meantime("run", *words, "program.py")
    assert done.stdout == "done\n"
    assert SUMMARY.search(done.stderr)
    assert "\x1b[" not in done.stderr


def test_it_can_be_switched_off(on_terminal, write):
    write("program.py", WAITS)
    assert on_terminal("run", "--report", "off", "program.py") == (0, "")


def test_a_program_without_a_loop_gets_none(meantime, write):
    write("program.py", "print('done')")
    done = meantime("run", "--report", "full", "program.py")
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_the_options_of_the_program_are_its_own(meantime, write):
    write("program.py", "import sys; print(sys.argv[1:])")
    done = meantime("run", "program.py", "--report", "full", "--report-json", "x")
    assert done.stdout == "['--report', 'full', '--report-json', 'x']\n"
    assert done.stderr == ""


# --- What it says ---------------------------------------------------------------------------------


def test_the_full_report_says_where_it_waited(meantime, write):
    write("program.py", WAITS)
    done = meantime("run", "--report", "full", "program.py")
    assert re.search(r"wall time +0\.\d+ s", done.stderr)
    assert re.search(r"loop busy +\d+ ms", done.stderr)
    assert re.search(r"0\.3\d? s  program\.py:7  await asyncio\.sleep\(seconds\)", done.stderr)


def test_awaits_one_after_the_other_are_suggested(meantime, write):
    write(
        "program.py",
        """
        import asyncio
        async def cook(dish, seconds):
            await asyncio.sleep(seconds)
            return dish
        async def main():
            soup = await cook("soup", 0.2)
            eggs = await cook("eggs", 0.3)
            print(soup, eggs)
        asyncio.run(main())
        """,
    )
    done = meantime("run", "--report", "short", "program.py")
    assert "program.py:7  await cook('soup', 0.2)" in done.stderr
    assert re.search(r"this and line 8 waited one after the other: 0\.5", done.stderr)
    words = " ".join(done.stderr.split())
    assert "if their order does not matter: await asyncio.gather(cook('soup', 0.2)," in words


def test_the_json_says_everything(meantime, write, tmp_path):
    write("program.py", WAITS)
    done = meantime("run", "--report-json", "report.json", "program.py")
    assert done.stderr == ""
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["version"] == 1
    assert report["program"] == "program.py"
    assert report["waited_s"] == pytest.approx(0.3, abs=0.1)
    assert report["ran_s"] == pytest.approx(0.2, abs=0.1)
    assert report["at_once_max"] == 2
    assert report["busy_s"] < report["ran_s"] < report["wall_s"]
    assert report["places"][0]["file"].endswith("program.py")
    assert report["findings"] == report["suggestions"] == []


def test_the_json_of_a_program_without_a_loop_says_so(meantime, write, tmp_path):
    write("program.py", "print('done')")
    meantime("run", "--report-json", "report.json", "program.py")
    assert json.loads((tmp_path / "report.json").read_text())["ran_s"] == 0


@pytest.mark.parametrize("path", ["none/report.json", "."])
def test_a_file_that_cannot_be_written_is_told_before_the_program_runs(meantime, write, path):
    write("program.py", "print('ran')")
    done = meantime("run", "--report-json", path, "program.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Name a file" in done.stderr


# --- The end is the program's ---------------------------------------------------------------------


@pytest.mark.parametrize("end", ["sys.exit(3)", "1 / 0", "sys.exit('a message')"])
def test_status_and_traceback_are_the_programs(meantime, write, end):
    write("program.py", WAITS.replace('print("done")', f"import sys; {end}"))
    plain, reported = meantime("run", "program.py"), meantime("run", "--report=short", "program.py")
    assert reported.returncode == plain.returncode
    assert reported.stderr.startswith(plain.stderr)
    assert SUMMARY.search(reported.stderr[len(plain.stderr) :])


SERVES = """
    import asyncio
    async def main():
        asyncio.get_running_loop().call_later(0.2, print, "ready")
        await asyncio.sleep(3600)
    asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_ended_by_a_signal_reports_and_dies_by_it(start, write, number):
    write("program.py", SERVES)
    with start("run", "--report", "short", "program.py") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == -number
    assert "one thing at a time" in err
    assert err.count("-- meantime --") == 1


def test_a_signal_of_the_programs_own_stays_its_own(start, write):
    text = SERVES.replace(
        "async def", "import signal\n    signal.signal(15, lambda *_: exit(7))\n    async def"
    )
    write("program.py", text)
    with start("run", "--report", "short", "program.py") as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert process.returncode == 7
    assert err.count("-- meantime --") == 1


def test_nobody_who_did_not_ask_gets_a_handler_for_signals(meantime, write):
    write("program.py", "import signal; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)")
    assert meantime("run", "program.py").stdout == "True\n"


def test_uvicorn_reports_when_it_is_told_to_end(start, write):
    """It sends the signal to itself once more, when it has cleaned up."""
    write(
        "app.py",
        """
        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                print("ready", flush=True)
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
        """,
    )
    words = ["-m", "uvicorn", "app:app", "--loop", "none", "--port", "0"]
    with start("run", "--report", "short", *words) as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM
    assert "Waited" in err


def test_a_forked_child_does_not_report(meantime, write):
    text = WAITS + "    import os, sys\n    if not os.fork():\n        sys.exit(0)\n    os.wait()\n"
    write("program.py", text)
    done = meantime("run", "--report", "short", "program.py")
    assert done.stderr.count("-- meantime --") == 1


def test_it_comes_after_what_exit_functions_print(meantime, write):
    text = (
        "    import atexit, sys\n    atexit.register(print, 'goodbye', file=sys.stderr)\n" + WAITS
    )
    write("program.py", text)
    done = meantime("run", "--report", "short", "program.py")
    assert done.stderr.startswith("goodbye\n\n-- meantime --")


def test_a_closed_standard_error_harms_nobody(meantime, write):
    write("program.py", WAITS + "    import sys; sys.stderr.close()\n")
    done = meantime("run", "--report", "short", "program.py")
    assert (done.returncode, done.stdout) == (0, "done\n")
