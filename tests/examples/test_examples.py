"""Each example is run as a beginner runs it, and on both pollers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
MEANTIME_RUN = ["-m", "meantime", "run"]

pytestmark = pytest.mark.slow


def run(script, *arguments, before=(), backend=None):
    """Run an example, and return what it printed and the seconds it took."""
    environment = os.environ | ({"MEANTIME_BACKEND": backend} if backend else {})
    started = time.monotonic()
    completed = subprocess.run(
        [sys.executable, *before, str(EXAMPLES / script), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    took_s = time.monotonic() - started
    assert completed.returncode == 0, completed.stderr
    return completed.stdout, took_s


def start(script, *arguments, backend):
    """Start an example that goes on until it is told to end."""
    return subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLES / script), *arguments],
        env=os.environ | {"MEANTIME_BACKEND": backend},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        (
            "first_steps.py",
            ["Start fetching", "End fetching", "The result is {'data': 1}"],
        ),
        (
            "kitchen.py",
            [
                "soup: on the stove",
                "potatoes: on the stove",
                "eggs: on the stove",
                "eggs: ready after 1 s",
                "soup: ready after 2 s",
                "potatoes: ready after 3 s",
                "Served: soup, potatoes, eggs",
                "One by one this takes 6 s. Together it took 3 s.",
            ],
        ),
        (
            "commands.py",
            [
                "washing: on",
                "dryer: on",
                "washing: clean",
                "iron: hot",
                "dryer: dry",
                "Exit codes: 0 0 3",
                "One after the other takes 4.5 s. Together it took 2 s.",
            ],
        ),
    ],
)
def test_plain_asyncio_prints_the_same_with_and_without_meantime(script, lines, backend):
    """The command line promises that an asyncio program runs unchanged."""
    plain, _ = run(script)
    on_meantime, _ = run(script, before=MEANTIME_RUN, backend=backend)
    assert plain.splitlines() == lines
    # meantime's own report goes to the other stream, so that a program's output stays its own.
    assert on_meantime.splitlines() == lines


def test_pages_fetched_at_once_come_sooner(backend):
    """Forty pages of 50 ms each take 2 s one by one, and must not when they are asked together."""
    printed, _ = run("fetch_many.py", "--requests", "40", backend=backend)
    seconds = [float(found) for found in re.findall(r"40 pages in ([\d.]+) s", printed)]
    assert len(seconds) == 2
    assert seconds[0] >= 2.0
    assert 0.05 <= seconds[1] < seconds[0] / 2
    assert "The pages are the same." in printed


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_pipeline_stores_every_book_once(kind, backend, request, tmp_path):
    """Run again, it fetches only what is missing."""
    database = str(tmp_path / "books.sqlite3")
    if kind == "postgresql":
        port = request.getfixturevalue("postgres_port")
        database = f"postgresql://tester@127.0.0.1:{port}/{empty_database(port)}"
    shown = [
        run("pipeline.py", "--pages", str(count), "--database", database, backend=backend)[0]
        for count in (20, 60, 60)
    ]
    stored = [
        re.findall(r"^(\d+) books (?:fetched|in)", printed, re.MULTILINE) for printed in shown
    ]
    assert stored == [["20", "20"], ["40", "60"], ["0", "60"]]
    assert shown[1].splitlines()[-1] == shown[2].splitlines()[-1]


def empty_database(port):
    """Make a database on this server, and return its name."""
    name = f"books_{time.monotonic_ns()}"
    with psycopg.connect(
        f"postgresql://tester@127.0.0.1:{port}/postgres", autocommit=True
    ) as server:
        server.execute(f"CREATE DATABASE {name}")
    return name


def test_heavy_work_elsewhere_leaves_the_clock_ticking(backend):
    printed, _ = run("offload.py", "--up-to", "40000", backend=backend)
    assert printed.splitlines() == [
        "  25 % of 40000",
        "  50 % of 40000",
        "  75 % of 40000",
        "4203 primes below 40000, 2262 below 20000",
        "count_for_ever was ended after 0.2 s",
        "The squares below 10,000 are 333283335000 together",
        "The clock went on ticking: yes",
    ]


def test_words_are_counted_while_the_clock_ticks(backend):
    printed, _ = run("files.py", backend=backend)
    found, ticked = printed.splitlines()
    assert found == "100 files. The most frequent words: the 15000, in 10000, kettle 5000"
    assert ticked == "The clock went on ticking."


def test_the_conversation_is_always_the_same(backend):
    printed, _ = run("chat.py", backend=backend)
    assert [line.strip() for line in printed.splitlines()] == [
        "Ada hears  * Ada comes in",
        "Brian hears  * Brian comes in",
        "Ada hears  * Brian comes in",
        "Chiara hears  * Chiara comes in",
        "Ada hears  * Chiara comes in",
        "Brian hears  * Chiara comes in",
        "Brian hears  Ada: Shall we have lunch?",
        "Chiara hears  Ada: Shall we have lunch?",
        "Ada hears  Chiara: In the meantime, yes.",
        "Brian hears  Chiara: In the meantime, yes.",
        "Ada hears  * Chiara leaves",
        "Brian hears  * Chiara leaves",
        "Ada hears  * Brian leaves",
    ]


def test_guests_in_programs_of_their_own_can_talk(backend):
    """This is how a reader of the example uses it: three terminals."""
    port = str(free_port())
    with start("chat.py", "serve", port, backend=backend) as server:
        assert "The room is open" in server.stdout.readline()
        with (
            start("chat.py", "join", "127.0.0.1", port, "Ada", backend=backend) as ada,
            start_after(ada, "* Ada comes in", port, "Brian", backend) as brian,
        ):
            assert brian.stdout.readline() == "* Brian comes in\n"
            assert ada.stdout.readline() == "* Brian comes in\n"
            print("hello", file=ada.stdin, flush=True)
            assert brian.stdout.readline() == "Ada: hello\n"
            ada.stdin.close()
            assert brian.stdout.readline() == "* Ada leaves\n"
            brian.stdin.close()
        assert (ada.returncode, brian.returncode) == (0, 0)
        server.terminate()


def start_after(guest, line, port, name, backend):
    """Let the next guest in once the one before has heard a line."""
    assert guest.stdout.readline().strip() == line
    return start("chat.py", "join", "127.0.0.1", port, name, backend=backend)


# What the report of the slow kitchen must name: the kind of mistake, the line that makes it as its
# source begins, and a word of what to write instead.
MISTAKES = [
    ("blocked", "time.sleep(0.3)", "asyncio.sleep"),
    ("blocked", "grains += number % 3", "to_process"),
    ("crowded_turn", "", "limit"),
    ("never_awaited", "lay_the_table()", "await"),
    ("leaked_task", "asyncio.create_task(wash_up())", "TaskGroup"),
    ("lost_exception", 'raise ValueError("the toast is burnt")', "await"),
    ("swallowed_cancellation", "await asyncio.sleep(1.5)", "raise"),
    ("starved_pool", "time.sleep(1.5)", "threads"),
]


@pytest.fixture(scope="module")
def slow_kitchen(tmp_path_factory):
    """The slow kitchen's report, as JSON and as text: the best of a few.

    On a busy machine, a step that is short may wait long for a processor.
    """
    for _ in range(3):
        report, text = cook_slowly(tmp_path_factory.mktemp("report") / "report.json")
        if kinds_in(report) == sorted(kind for kind, _, _ in MISTAKES):
            break
    return report, text


def cook_slowly(path):
    completed = subprocess.run(
        [
            *(sys.executable, *MEANTIME_RUN, "--report", "full", "--report-json", str(path)),
            str(EXAMPLES / "slow_kitchen.py"),
        ],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return json.loads(path.read_text()), completed.stderr


def kinds_in(report):
    return sorted(each["kind"] for each in report["findings"])


@pytest.mark.parametrize(("kind", "source", "advice"), MISTAKES)
def test_the_report_names_each_mistake_of_the_slow_kitchen(slow_kitchen, kind, source, advice):
    report, text = slow_kitchen
    found = [
        each
        for each in report["findings"]
        if each["kind"] == kind and (each["place"] or {}).get("source", "").startswith(source)
    ]
    assert found, [(each["kind"], each["place"]) for each in report["findings"]]
    assert any(advice in each["advice"] for each in found)
    place = found[0]["place"]
    if place is not None:
        assert place["file"].endswith("slow_kitchen.py")
        assert f"slow_kitchen.py:{place['line']}" in text


def test_the_report_names_nothing_else_in_the_slow_kitchen(slow_kitchen):
    report, _ = slow_kitchen
    assert kinds_in(report) == sorted(kind for kind, _, _ in MISTAKES)


def test_the_report_says_what_the_slow_kitchen_could_save(slow_kitchen):
    report, _ = slow_kitchen
    saved = {each["function"]: each["saved_s"] for each in report["suggestions"]}
    assert saved == {
        "make_a_meal": pytest.approx(0.6, abs=0.1),
        "make_cakes": pytest.approx(0.4, abs=0.1),
        "main": pytest.approx(0.6, abs=0.15),  # the cakes could be made beside the meal
    }


def test_the_report_names_who_waits_for_each_other_in_the_slow_kitchen(tmp_path):
    """The deadlock is told of while it lasts, and again in the report after Ctrl-C."""
    path = tmp_path / "report.json"
    command = [*MEANTIME_RUN, "--report", "short", "--report-json", str(path)]
    with subprocess.Popen(
        [sys.executable, *command, str(EXAMPLES / "slow_kitchen.py"), "--deadlock"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restore_interrupts,  # noqa: PLW1509 - it takes no lock
    ) as process:
        # Where it is not found, the program would wait without end, and so would this line.
        give_up = threading.Timer(20, process.kill)
        give_up.start()
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=30)[1]
        give_up.cancel()
        give_up.join()
    assert process.returncode == -signal.SIGINT
    assert "nothing is left that could wake one of them" in first
    assert "Stood still" in err
    (finding,) = json.loads(path.read_text())["findings"]
    assert finding["kind"] == "deadlock"
    assert finding["place"]["source"] == "async with second:"


def restore_interrupts():
    """A shell that runs tests in its background has SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_right_program_has_nothing_to_report(tmp_path, backend):
    path = tmp_path / "report.json"
    run("kitchen.py", before=[*MEANTIME_RUN, "--report-json", str(path)], backend=backend)
    report = json.loads(path.read_text())
    assert report["findings"] == report["suggestions"] == []
    assert report["waited_s"] == pytest.approx(6, abs=0.5)
    assert report["ran_s"] == pytest.approx(3, abs=0.5)
    assert report["at_once_max"] == 3


def test_guard_names_the_line_that_makes_everybody_wait(backend):
    printed, _ = run("guard.py", backend=backend)
    source = (EXAMPLES / "guard.py").read_text().splitlines()
    [line] = [number for number, text in enumerate(source, 1) if "time.sleep(0.2)" in text]
    assert "5 customers waited" in printed
    assert f"guard.py:{line}: time.sleep held the event loop" in printed
    assert "await asyncio.sleep(seconds)" in printed
