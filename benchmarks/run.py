"""Compare event loops: ask every question of every peer, in turn, and say who did how.

    python benchmarks/run.py                              everything, about half an hour
    python benchmarks/run.py --quick                      one round, about four minutes
    python benchmarks/run.py --only echo --peers uvloop,meantime-io_uring --rounds 5

A full run is kept as results/latest.json, .md and .png; a part of one as results/partial.*.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import machine
import plot
import tables
from network import compiled
from peers import PEERS, Peer
from questions import ALL, GROUPS, QUICK, USUAL, Question, Run, by_cost, questions
from results import Results, is_present
from services import Services
from yardstick import Yardstick

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
MARK_START, MARK_END = "<!-- results: start -->", "<!-- results: end -->"
CHILD_EXTRA_S = 30
PATIENCE_PER_RUN_S = 0.1
REASON_CHARACTERS_MAX = 90

Said = dict[str, float] | str
"""What a run has said: its figures, or the reason why there are none."""


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", action="append", metavar="PATTERN", help="questions: a part of the name")
    add("--group", action="append", choices=GROUPS, help="questions: a whole group")
    add("--peers", metavar="A,B", help=f"of {', '.join(PEERS)}; a name's start is enough")
    add("--rounds", type=int, help="runs of each question and peer (5)")
    add("--seconds", type=float, help="measured time of a run (0.3)")
    add("--warm-up", type=float, help="seconds before it (0.1)")
    add("--patience", type=float, metavar="S", help="to wait for a quiet machine (0.1 a run)")
    add("--quick", action="store_true", help="the main questions, one short round")
    add("--all", action="store_true", help="also the rarer combinations")
    add("--cost", action="store_true", help="processor time instead of speed")
    add("--connections-max", type=int, default=0, metavar="N", help="never more connections")
    add("--name", help="of the files in results/ (latest, partial or quick)")
    add("--repeat-into", type=Path, metavar="FILE", help="merge with this earlier JSON result")
    add("--report", type=Path, metavar="FILE", help="run nothing, show this JSON result")
    add("--write-readme", action="store_true", help="put the tables into README.md")
    add("--list", action="store_true", help="show the questions and their keys")
    return parser


def is_partial(options: argparse.Namespace) -> bool:
    chosen = options.only or options.group or options.peers
    return bool(chosen or options.connections_max or options.cost)


def complete(options: argparse.Namespace) -> None:
    """Fill in what was not given."""
    rounds, seconds, warm_up = (1, 0.15, 0.05) if options.quick else (5, 0.3, 0.1)
    options.rounds = options.rounds or rounds
    options.seconds = options.seconds or seconds
    options.warm_up = warm_up if options.warm_up is None else options.warm_up
    usual_name = "quick" if options.quick else "latest"
    options.name = options.name or ("partial" if is_partial(options) else usual_name)


def chosen_questions(options: argparse.Namespace) -> list[Question]:
    """Return what is to be asked. A question that is named outright is asked in any case."""
    tier = QUICK if options.quick else ALL if options.all else USUAL
    asked = [question for question in questions() if question.tier <= tier]
    if options.group:
        asked = [question for question in asked if question.group in options.group]
    if options.only:
        asked = [question for question in asked if question.matches(options.only)]
        asked = asked or [question for question in questions() if question.matches(options.only)]
    bases = {question.base_key for question in asked}
    asked = [q for q in questions() if q in asked or q.key in bases]
    if not asked:
        wanted = options.only or options.group
        sys.exit(f"No question matches {wanted}. Look at: run.py --list")
    return [by_cost(question) for question in asked] if options.cost else asked


def chosen_peers(options: argparse.Namespace) -> list[Peer]:
    if not options.peers:
        return list(PEERS.values())
    names = options.peers.split(",")
    for name in names:
        if not any(peer.startswith(name) for peer in PEERS):
            sys.exit(f"There is no peer {name!r}; there are: {', '.join(PEERS)}")
    # A whole name means that peer alone: uvloop is also how uvloop+aiofastnet begins.
    return [
        peer
        for peer in PEERS.values()
        if peer.name in names
        or any(peer.name.startswith(name) for name in names if name not in PEERS)
    ]


def version(peer: Peer) -> str:
    """Return the peer's version, or why it cannot take part, beginning with "not"."""
    if missing := peer.missing_module():
        return f"not installed: there is no module {missing} in this environment"
    if not peer.factory:
        return peer.version()
    code = f"import peers; l = peers.PEERS[{peer.name!r}].new_loop(); l.close()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        return f"not available: {last_line(done.stderr) or f'ended with {done.returncode}'}"
    return peer.version()


def last_line(text: str) -> str:
    """Return the last line that is not empty, fit for a cell of a table."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = lines[-1].replace("|", "/") if lines else ""
    return line if len(line) <= REASON_CHARACTERS_MAX else line[:REASON_CHARACTERS_MAX] + "…"


def reason_of(errors: str) -> str:
    """Return why a run gave no figure: its last words, or that something beside it is missing."""
    line = last_line(errors)
    for words in ("UnavailableError: ", "ModuleNotFoundError: ", "not available: "):
        _, found, missing = line.partition(words)
        if found:
            return f"not available: {missing}"
    return line


def child_command(run: Run, peer: Peer, options: argparse.Namespace, port: int) -> list[str]:
    arguments = list(run.arguments)
    if run.service:
        arguments += ["--port", str(port)]
    if options.connections_max and "--connections" in arguments:
        at = arguments.index("--connections") + 1
        arguments[at] = str(min(int(arguments[at]), options.connections_max))
    times = ["--seconds", str(options.seconds), "--warm-up", str(options.warm_up)]
    script = str(HERE / f"{run.script}.py")
    # As users run an application on meantime, so that it has the compiled primitives, too.
    way = ("-m", "meantime", "run") if run.is_application and peer.primitives == "meantime" else ()
    return [sys.executable, *way, script, "--loop", peer.name, *times, *arguments]


def without_rebuilding() -> dict[str, str]:
    """Return what keeps an editable install of meson-python from compiling at each import.

    `version` has imported each peer once, so that what was to be compiled has been.
    """
    folders = [getattr(finder, "_build_path", "") for finder in sys.meta_path]
    return {"MESONPY_EDITABLE_SKIP": os.pathsep.join(filter(None, folders))}


def run_child(run: Run, peer: Peer, options: argparse.Namespace, port: int) -> Said:
    """Run one question for one peer. The port is that of the service beside it, if there is one."""
    bound_s = options.seconds + options.warm_up + CHILD_EXTRA_S
    child = subprocess.Popen(
        child_command(run, peer, options, port),
        env={**os.environ, **without_rebuilding(), **peer.environment, **dict(run.environment)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A session of its own, so that a stuck child ends together with its server or client.
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(timeout=bound_s)
    except subprocess.TimeoutExpired:
        return f"timed out after {bound_s:.0f} s"
    finally:
        end_session(child)
    if child.returncode < 0:
        return f"killed by {signal.Signals(-child.returncode).name}"
    if child.returncode > 0:
        return reason_of(errors) or f"ended with {child.returncode}"
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return figures


def end_session(child: subprocess.Popen[str]) -> None:
    """Kill what is left of a child's session, if anything is."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def by_run(asked: list[Question]) -> dict[Run, list[Question]]:
    """Return the questions that each run answers, runs in the order of their first question."""
    grouped: dict[Run, list[Question]] = {}
    for question in asked:
        grouped.setdefault(question.run, []).append(question)
    return grouped


def rounds_of(answered: list[Question], options: argparse.Namespace) -> int:
    rounds: int = min(options.rounds, answered[0].rounds_max or options.rounds)
    return rounds


def count_runs(
    grouped: dict[Run, list[Question]], peers: list[Peer], options: argparse.Namespace
) -> int:
    """Return how many runs there are if nobody fails."""
    return sum(
        rounds_of(answered, options) * sum(answered[0].asks(peer.name) for peer in peers)
        for answered in grouped.values()
    )


def ask_all(
    results: Results, asked: list[Question], peers: list[Peer], options: argparse.Namespace
) -> None:
    """Ask round after round, each time every peer in turn, so that all share good times and bad."""
    started_s = time.monotonic()
    grouped = by_run(asked)
    patience_s = options.patience
    if patience_s is None:
        patience_s = count_runs(grouped, peers, options) * PATIENCE_PER_RUN_S
    yardstick = Yardstick(patience_s)
    with Services() as services:
        for number, (run, answered) in enumerate(grouped.items(), 1):
            takers = [peer for peer in peers if answered[0].asks(peer.name)]
            port = services.port(run.service) if takers else 0
            for peer, said in ask_in_turn(run, answered, takers, port, yardstick, options):
                keep(results, answered, peer.name, said)
            spent_s = time.monotonic() - started_s
            print(f"{number}/{len(grouped)} {spent_s:4.0f} s  {answered[0].title}", file=sys.stderr)
    slow = f"{yardstick.slow_runs} of {yardstick.runs}"
    results.machine["runs in a slow moment"] = slow


def ask_in_turn(
    run: Run,
    answered: list[Question],
    takers: list[Peer],
    port: int | str,
    yardstick: Yardstick,
    options: argparse.Namespace,
) -> Iterator[tuple[Peer, Said]]:
    """Yield what each peer says, round after round.

    A peer that fails is not asked again; nothing else changes. A reason in place of a port is what
    all of them say.
    """
    left = list(takers)
    for _ in range(rounds_of(answered, options)):
        for peer in list(left):
            said: Said
            if isinstance(port, str):
                said = port
            else:
                said = yardstick.in_a_good_moment(partial(run_child, run, peer, options, port))
            if isinstance(said, str):
                left.remove(peer)
            yield peer, said


def keep(results: Results, answered: list[Question], peer: str, said: Said) -> None:
    for question in answered:
        if isinstance(said, str):
            results.add_failure(question, peer, said)
        else:
            results.add(question, peer, said)


def new_results(peers: list[Peer], options: argparse.Namespace) -> Results:
    """Return results without figures yet: those to be merged with, or empty ones."""
    results = Results()
    if options.repeat_into and options.repeat_into.exists():
        results = Results.load(options.repeat_into)
    results.machine = machine.describe()
    versions = {peer.name: version(peer) for peer in peers}
    results.peers = {n: v for n in PEERS if (v := {**results.peers, **versions}.get(n)) is not None}
    rounds = results.settings.get("rounds", 0) + options.rounds
    times = {"seconds": options.seconds, "warm-up": options.warm_up}
    results.settings = {"rounds": rounds, **times}
    return results


def publish(results: Results, options: argparse.Namespace, save: Callable[[Path], None]) -> None:
    """Show the tables, and write them and the picture beside the JSON file."""
    asked = [question for question in questions() if question.key in shown_keys(results)]
    asked = [by_cost(question) for question in asked] if options.cost else asked
    text = tables.markdown(results, asked)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{options.name}.json"
    save(path)
    path.with_suffix(".md").write_text(f"# Results\n\n{text}")
    if not plot.draw(results, asked, path.with_suffix(".png")):
        print("No picture: matplotlib is missing, or there are no ratios.", file=sys.stderr)
    if options.write_readme:
        write_readme(text, f"results/{options.name}.png")


def shown_keys(results: Results) -> set[str]:
    return {*results.figures, *results.failures}


def write_readme(text: str, picture: str) -> None:
    """Put the tables and the picture between the marks in README.md."""
    path = HERE / "README.md"
    before, rest = path.read_text().split(MARK_START)
    after = rest.split(MARK_END)[1]
    image = f"![Ratios to uvloop, as bars]({picture})"
    path.write_text(f"{before}{MARK_START}\n\n{image}\n\n{text}\n{MARK_END}{after}")


def main() -> None:
    options = command_line().parse_args()
    complete(options)
    if options.list:
        for question in questions():
            where = f"{question.group:10} {question.key:28}"
            print(f"{where} {question.title} [{question.unit}]")
        return
    if options.report:
        results = Results.load(options.report)
        publish(results, options, lambda path: None)
        return
    asked, peers = chosen_questions(options), chosen_peers(options)
    for tool in ("loadgen", "echo_epoll"):
        compiled(tool)
    results = new_results(peers, options)
    present = [peer for peer in peers if is_present(results.peers[peer.name])]
    ask_all(results, asked, present, options)
    publish(results, options, results.save)
    if options.repeat_into:
        results.save(options.repeat_into)


if __name__ == "__main__":
    main()
