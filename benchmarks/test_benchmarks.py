"""The benchmarks run, give figures, and make a well-formed table. Speed is never asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import plot  # noqa: E402
import tables  # noqa: E402
from machine import LOAD_MAX  # noqa: E402
from peers import BASE, C_SERVER, PEERS, Peer  # noqa: E402
from questions import GROUPS, Question, by_cost, questions  # noqa: E402
from results import Results, Targets, is_not_available, is_present, reached  # noqa: E402
from run import chosen_peers, command_line, reason_of  # noqa: E402
from yardstick import Yardstick  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="client and C server speak epoll"),
]

TINY = ("--rounds", "1", "--seconds", "0.02", "--warm-up", "0.01", "--patience", "0")
SCRIPTS = sorted({question.run.script for question in questions()})
CHAIN = next(question for question in questions() if question.key == "call_soon_chain")


def run_driver(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HERE / "run.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def made_up(figures: dict[str, float], question: Question = CHAIN) -> Results:
    """Return results as if each peer had given one figure."""
    results = Results(peers=dict.fromkeys(figures, "1.0"))
    for peer, figure in figures.items():
        results.add(question, peer, {question.figure: figure})
    return results


def assert_well_formed(lines: Sequence[str]) -> None:
    """Every line of a table has as many cells as its head."""
    assert len({line.count("|") for line in lines}) == 1
    assert set(lines[1]) <= set("|-: ")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_question_gets_positive_figures_from_asyncio(script: str, tmp_path: Path) -> None:
    """Each script really runs, server, client and all."""
    merged = tmp_path / "merged.json"
    words = ("--peers", "asyncio,c-epoll", "--only", script, "--connections-max", "120")
    done = run_driver(*words, *TINY, "--name", "partial", "--repeat-into", str(merged))

    results = Results.load(merged)
    keys = [q.key for q in questions() if q.run.script == script and q.asks("asyncio")]
    asked = [key for key in keys if key in results.figures]
    reasons = {said for failures in results.failures.values() for said in failures.values()}
    if reasons and all(map(is_not_available, reasons)):
        pytest.skip(str(reasons))
    assert asked
    assert results.failures == {}
    for key in asked:
        assert all(figure > 0 for figure in results.figures[key]["asyncio"])
    assert_well_formed(table_lines(done.stdout))


def table_lines(text: str) -> list[str]:
    """Return the lines of the first table of ratios."""
    lines = text.partition("Ratios of medians")[2].partition("Medians (")[0].splitlines()
    return [line for line in lines if line.startswith("|")]


def test_every_question_has_a_script_and_a_key_of_its_own() -> None:
    """A typing error in the table would otherwise show only in a full run."""
    keys = [question.key for question in questions()]
    assert len(keys) == len(set(keys))
    assert all((HERE / f"{script}.py").exists() for script in SCRIPTS)


def test_every_target_belongs_to_a_question() -> None:
    """A target whose pattern fits nothing would never be missed."""
    targets = Targets()
    wanted = {targets.for_question(question) for question in questions()} - {None}
    assert wanted == set(targets.all())


def test_a_failure_stands_in_its_cell_and_counts_as_a_missed_target() -> None:
    """One broken loop must not hide, and must not break the table."""
    peer = "meantime-epoll"
    results = made_up({BASE: 100.0, peer: 600.0})
    assert reached(results, [CHAIN], peer) == (1, 1)
    results.add_failure(CHAIN, peer, "killed by SIGSEGV")

    lines = tables.ratios(results, [CHAIN])
    assert_well_formed(lines)
    assert "failed: killed by SIGSEGV" in lines[2]
    assert reached(results, [CHAIN], peer) == (0, 1)


def test_what_is_missing_beside_the_loop_is_said_and_is_nobodys_failure() -> None:
    """A machine without wrk must not make meantime look slow, and must not hide the question."""
    peer = "meantime-epoll"
    results = made_up({BASE: 100.0, peer: 600.0})
    reason = reason_of("Traceback …\nharness.UnavailableError: wrk is not installed\n")
    results.add_failure(CHAIN, peer, reason)

    assert "not available: wrk is not installed" in tables.ratios(results, [CHAIN])[2]
    assert "failed" not in tables.ratios(results, [CHAIN])[2]
    assert reached(results, [CHAIN], peer) == (0, 0)


def test_a_target_may_ask_to_be_ahead_of_other_peers() -> None:
    """The best TLS is not uvloop's, so a ratio to uvloop's alone would say too little."""
    echo = next(question for question in questions() if question.key == "tls_1024_x100")
    peer, rival = "meantime-epoll", "uvloop+aiofastnet"
    ahead = made_up({BASE: 100.0, rival: 150.0, peer: 151.0}, echo)
    behind = made_up({BASE: 100.0, rival: 152.0, peer: 151.0}, echo)
    assert reached(ahead, [echo], peer) == (1, 1)
    assert reached(behind, [echo], peer) == (0, 1)


def test_a_question_that_a_patch_cannot_change_is_marked_as_not_applicable() -> None:
    """It would be the figure of the loop below, under another name."""
    results = made_up({BASE: 100.0, "asyncio+aiofastnet": 100.0})
    del results.figures[CHAIN.key]["asyncio+aiofastnet"]
    assert not CHAIN.asks("asyncio+aiofastnet")
    assert "| n/a |" in tables.ratios(results, [CHAIN])[2]
    assert tables.WHY_NOT_APPLICABLE in tables.markdown(results, [CHAIN])


def test_a_whole_name_means_that_peer_alone() -> None:
    """The name uvloop also begins another peer's."""

    def names(words: str) -> list[str]:
        return [peer.name for peer in chosen_peers(command_line().parse_args(["--peers", words]))]

    assert names("uvloop") == ["uvloop"]
    assert names("uvloop,meantime") == ["uvloop", "meantime-io_uring", "meantime-epoll"]


def test_a_figure_without_a_base_is_shown_as_it_is() -> None:
    """Others can do what uvloop cannot."""
    results = made_up({BASE: 100.0, "asyncio": 50.0})
    results.add_failure(CHAIN, BASE, "NotImplementedError")
    assert "| 50.0 callbacks/s |" in tables.ratios(results, [CHAIN])[2]


def test_every_question_belongs_to_a_group() -> None:
    assert {question.group for question in questions()} == set(GROUPS)


def test_a_ratio_is_marked_by_its_target() -> None:
    """The mark is what the lead of a release reads."""
    results = made_up({BASE: 100.0, "meantime-io_uring": 600.0, "meantime-epoll": 200.0})
    line = tables.ratios(results, [CHAIN])[2]
    assert f"6.00 {tables.REACHED}" in line
    assert f"2.00 {tables.MISSED}" in line


def test_less_is_better_turns_the_bar_but_not_the_ratio() -> None:
    """In the picture more is always better; in the table a ratio is what it says."""
    memory = next(question for question in questions() if question.key == "memory_idle")
    results = made_up({BASE: 1000.0, "meantime-epoll": 500.0}, memory)
    assert results.ratio(memory, "meantime-epoll") == 0.5
    assert plot.times_better(results, memory, "meantime-epoll") == 2.0
    assert f"0.50 {tables.REACHED}" in tables.ratios(results, [memory])[2]


def test_cost_turns_a_servers_speed_into_processor_time() -> None:
    """Speed and cost must not be judged by the same target."""
    asked = {question.key: by_cost(question) for question in questions()}
    churn = asked["churn"]
    assert (churn.figure, churn.unit) == ("server_cpu_us", "µs/connection")
    assert Targets().for_question(churn) is None
    assert "--cost" in asked[CHAIN.key].run.arguments
    assert Targets().for_question(asked[CHAIN.key]) is not None


def test_results_survive_being_saved_and_merged(tmp_path: Path) -> None:
    """Several runs may be merged, so nothing may be lost on the way."""
    results = made_up({BASE: 1.0, "asyncio": 2.0})
    results.save(tmp_path / "one.json")
    loaded = Results.load(tmp_path / "one.json")
    loaded.add(CHAIN, BASE, {"per_second": 3.0})
    assert loaded.median(CHAIN.key, BASE) == 2.0
    assert json.loads((tmp_path / "one.json").read_text())["figures"] == results.figures


def test_a_busy_machine_is_said_before_the_figures() -> None:
    results = made_up({BASE: 1.0})
    results.machine["load before"] = str(LOAD_MAX + 1)
    assert "busy" in tables.markdown(results, [CHAIN]).splitlines()[0]


def test_a_peer_that_is_not_installed_has_a_row_and_no_column() -> None:
    """An optional peer must be seen to be missing."""
    results = made_up({BASE: 1.0, "asyncio": 2.0})
    results.peers["rsloop"] = "not installed: there is no module rsloop in this environment"
    text = tables.markdown(results, [CHAIN])
    assert "| rsloop | not installed" in text
    assert "rsloop" not in table_lines(text)[0]


def test_a_peer_imported_from_a_folder_takes_part() -> None:
    """It has no version to be found, but it is there."""
    assert is_present(Peer("from a folder", "tables:table").version())


def test_an_unknown_peer_or_question_ends_with_a_hint() -> None:
    """A typing error should not start half an hour of something else."""
    for words in (("--peers", "uvlop"), ("--only", "no such thing")):
        with pytest.raises(subprocess.CalledProcessError) as error:
            run_driver(*words)
        assert error.value.stderr.strip()


def test_a_run_without_patience_counts_as_it_is() -> None:
    """The driver ends in bounded time on a machine that is never quiet."""
    yardstick = Yardstick(patience_s=0)
    yardstick.is_slow = lambda: True  # type: ignore[method-assign]
    assert yardstick.in_a_good_moment(lambda: "done") == "done"
    assert (yardstick.runs, yardstick.slow_runs) == (1, 1)


def test_the_c_server_is_asked_only_what_a_server_can_answer() -> None:
    assert not CHAIN.asks(C_SERVER)
    assert not PEERS[C_SERVER].missing_module()
