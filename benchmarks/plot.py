"""The results as a picture: one bar for each peer and question, on a scale of ratios."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from peers import BASE, C_SERVER, PEERS
from questions import Question
from results import Results, Targets

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAR_INCHES = 0.11
GAP_INCHES = 0.15
WIDTH_INCHES = 11.0
SIDE_RATIO_MAX = 10.0
LEGEND_COLUMNS = 4
TARGET_COLOUR = "#c00000"


def times_better(results: Results, question: Question, peer: str) -> float | None:
    """Return the ratio so that more is always better."""
    ratio = results.ratio(question, peer)
    if not ratio:
        return None
    return ratio if question.more_is_better else 1 / ratio


def label(question: Question) -> str:
    return question.title + (f" (to {question.base})" if question.base != BASE else "")


def draw(results: Results, asked: list[Question], path: Path) -> bool:
    """Write the picture. Returns False where there is nothing to draw it with or of."""
    peers = [peer for peer in results.shown_peers() if peer != BASE]
    rows = [q for q in asked if any(times_better(results, q, peer) for peer in peers)]
    if not rows:
        return False

    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return False

    bars_of = {q.key: [(p, times_better(results, q, p)) for p in peers if q.asks(p)] for q in rows}
    inches = sum(len(bars) * BAR_INCHES + GAP_INCHES for bars in bars_of.values())
    figure, axes = pyplot.subplots(figsize=(WIDTH_INCHES, inches + 1.4), layout="constrained")
    at, ticks, best, targets = 0.0, [], 1.0, Targets()
    for index, question in enumerate(rows):
        top = at
        for peer, ratio in bars_of[question.key]:
            if ratio:
                draw_bar(axes, at + BAR_INCHES / 2, ratio, PEERS[peer].colour)
                best = max(best, ratio, 1 / ratio)
            at += BAR_INCHES
        if index % 2:
            axes.axhspan(top - GAP_INCHES / 2, at + GAP_INCHES / 2, color="#f2f2f2", zorder=0)
        draw_target(axes, targets, question, top, at)
        ticks.append((top + at) / 2)
        at += GAP_INCHES
    finish(axes, ticks, rows, at, min(best, SIDE_RATIO_MAX))
    add_legend(figure, peers)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return True


def draw_bar(axes: Axes, at: float, ratio: float, colour: str) -> None:
    """Draw a bar from 1 to the ratio, with the number at its end."""
    end = min(max(ratio, 1 / SIDE_RATIO_MAX), SIDE_RATIO_MAX)
    axes.barh(at, end - 1, left=1, height=BAR_INCHES * 0.86, color=colour, zorder=2)
    is_right = ratio >= 1
    axes.annotate(
        f"{ratio:.2f}",
        (end, at),
        xytext=(3 if is_right else -3, 0),
        textcoords="offset points",
        ha="left" if is_right else "right",
        va="center",
        fontsize=6,
        color="#333333",
    )


def draw_target(
    axes: Axes, targets: Targets, question: Question, top: float, bottom: float
) -> None:
    """Draw a dotted line across the row, where meantime wants to be."""
    target = targets.for_question(question)
    bound = target and (target.at_least or target.at_most)
    if bound:
        at = bound if question.more_is_better else 1 / bound
        axes.vlines(at, top, bottom, colors=TARGET_COLOUR, linestyles=":", zorder=4)


def finish(
    axes: Axes, ticks: list[float], rows: list[Question], bottom: float, best: float
) -> None:
    """Set the scales, the titles of the rows and the line at 1."""
    marks = [mark for mark in (0.1, 0.2, 0.5, 1, 2, 3, 5, 10) if 1 / best / 1.5 <= mark]
    axes.set_xscale("log")
    axes.set_xticks(marks, [f"{mark:g}" for mark in marks])
    axes.minorticks_off()
    axes.set_xlim(marks[0] / 1.35, best * 1.35)
    axes.set_yticks(ticks, [label(question) for question in rows], fontsize=9)
    axes.set_ylim(bottom, -GAP_INCHES)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", top=True, labeltop=True)
    axes.axvline(1, color="black", linewidth=1.2, zorder=3)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6, zorder=1)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.set_xlabel(f"times as good as {BASE} (medians, logarithmic scale; to the right is better)")


def add_legend(figure: Figure, peers: list[str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    names = {C_SERVER: f"{C_SERVER} (a server written in C)"}
    handles: list[Artist] = [
        Patch(color=PEERS[peer].colour, label=names.get(peer, peer)) for peer in peers
    ]
    handles.append(Line2D([], [], color=TARGET_COLOUR, linestyle=":", label="meantime's target"))
    figure.legend(handles=handles, loc="outside upper center", ncols=LEGEND_COLUMNS, frameon=False)
