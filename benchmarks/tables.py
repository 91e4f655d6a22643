"""The results as Markdown."""

from __future__ import annotations

from machine import LOAD_MAX
from peers import BASE
from questions import ASKED, NOT_APPLICABLE, NOT_ASKED, Question
from results import Results, Targets, has_targets, is_not_available, reached, reaches

REACHED, MISSED = "✓", "✗"
WHY_NOT_APPLICABLE = (
    "n/a: not applicable. aiofastnet replaces a loop's connections, servers, start_tls and "
    "sendfile; the question uses none of them, and would ask the loop below a second time."
)


def short(figure: float) -> str:
    """Return a figure with three digits and, from a thousand on, a letter: 1.23 M, 45.6 k."""
    for bound, letter in ((1e6, " M"), (1e3, " k")):
        if figure >= bound * 0.9995:
            return f"{figure / bound:#.3g}".rstrip(".") + letter
    return f"{figure:#.3g}".rstrip(".")


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table: the first column to the left, the others to the right."""
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return ["| " + " | ".join(cells) + " |" for cells in (head, ruler, *rows)]


def heading(question: Question) -> str:
    """Return the row's title, with what a ratio of it means where that is not the usual."""
    notes = [] if question.more_is_better else ["less is better"]
    if question.base != BASE:
        notes.append(f"to {question.base}")
    return question.title + (f" ({', '.join(notes)})" if notes else "")


def ratio_cell(results: Results, question: Question, peer: str, targets: Targets) -> str:
    """Return a ratio with its mark, or what there is in its place."""
    if reason := results.failure(question.key, peer):
        return failure_text(reason)
    ratio = results.ratio(question, peer)
    if ratio is None:
        median = results.median(question.key, peer)
        return f"{short(median)} {question.unit}" if median else unasked_text(question, peer)
    target = targets.for_question(question)
    if target is None or not has_targets(peer):
        return f"{ratio:.2f}"
    return f"{ratio:.2f} {REACHED if reaches(results, question, peer, target) else MISSED}"


def failure_text(reason: str) -> str:
    return reason if is_not_available(reason) else f"failed: {reason}"


def unasked_text(question: Question, peer: str) -> str:
    """Return what stands in a cell that has neither a figure nor a failure."""
    asking = question.asking(peer)
    return NOT_ASKED if asking == ASKED else asking


def base_cell(results: Results, question: Question) -> str:
    if reason := results.failure(question.key, BASE):
        return failure_text(reason)
    median = results.median(question.base_key or question.key, BASE)
    return f"{short(median)} {question.unit}" if median else NOT_ASKED


def columns(results: Results, asked: list[Question]) -> list[str]:
    """Return the peers that are shown: the base, and whoever is asked anything."""
    return [
        peer
        for peer in results.shown_peers()
        if peer == BASE or any(q.asking(peer) != NOT_ASKED for q in asked)
    ]


def ratios(results: Results, asked: list[Question]) -> list[str]:
    """Return the table of ratios, with what uvloop itself does in the second column."""
    targets = Targets()
    others = [peer for peer in columns(results, asked) if peer != BASE]
    rows = []
    for question in asked:
        target = targets.for_question(question)
        cells = [ratio_cell(results, question, peer, targets) for peer in others]
        goal = str(target) if target else ""
        rows.append([heading(question), base_cell(results, question), goal, *cells])
    return table(["question", BASE, "target", *others], rows)


def spread_cell(results: Results, question: Question, peer: str) -> str:
    figures = results.figures.get(question.key, {}).get(peer)
    median = results.median(question.key, peer)
    if not figures or median is None:
        reason = results.failure(question.key, peer)
        if not reason:
            return unasked_text(question, peer)
        return "not available" if is_not_available(reason) else "failed"
    spread = f" ({short(min(figures))} to {short(max(figures))})" if len(figures) > 1 else ""
    return short(median) + spread


def spreads(results: Results, asked: list[Question]) -> list[str]:
    """Return the table of medians, each with its lowest and its highest figure."""
    peers = columns(results, asked)
    rows = [
        [question.title, question.unit, *(spread_cell(results, question, peer) for peer in peers)]
        for question in asked
    ]
    return table(["question", "unit", *peers], rows)


def about(results: Results) -> list[str]:
    """Return the lines about machine and peers, with a warning if the machine was busy."""
    lines = [f"- {name}: {text}" for name, text in results.machine.items()]
    settings = ", ".join(f"{name} {value:g}" for name, value in results.settings.items())
    lines += [f"- settings: {settings}", "", *table(["peer", "version"], peer_rows(results))]
    if float(results.machine.get("load before", 0)) > LOAD_MAX:
        lines[:0] = ["**The machine was busy with other work: do not trust these figures.**", ""]
    return lines


def peer_rows(results: Results) -> list[list[str]]:
    return [[peer, version or "-"] for peer, version in results.peers.items()]


def has_not_applicable(results: Results, asked: list[Question]) -> bool:
    """Return whether a cell says that a question does not apply to a peer."""
    cells = (question.asking(peer) for question in asked for peer in results.shown_peers())
    return NOT_APPLICABLE in cells


def markdown(results: Results, asked: list[Question]) -> str:
    """Return everything: machine, peers, ratios, targets reached, medians with their spread."""
    lines = about(results)
    lines += ["", f"Ratios of medians to {BASE}'s:", "", *ratios(results, asked), ""]
    if has_not_applicable(results, asked):
        lines += [WHY_NOT_APPLICABLE, ""]
    for peer in filter(has_targets, results.shown_peers()):
        count, tried = reached(results, asked, peer)
        if tried:
            lines.append(f"{peer} reaches {count} of {tried} targets.")
    lines += ["", "Medians (lowest to highest):", "", *spreads(results, asked), ""]
    return "\n".join(lines)
