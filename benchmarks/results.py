"""What the runs have said: the figures, their medians, the ratios, and the targets."""

from __future__ import annotations

import json
import statistics
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from peers import C_SERVER
from questions import Question

HERE = Path(__file__).resolve().parent


@dataclass
class Results:
    """All figures of a run of the driver, or of several merged: `figures[question][peer]`."""

    machine: dict[str, str] = field(default_factory=dict)
    peers: dict[str, str] = field(default_factory=dict)
    settings: dict[str, float] = field(default_factory=dict)
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    runs: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)
    """Everything that each run has said, also what no question asks."""

    @classmethod
    def load(cls, path: Path) -> Results:
        return cls(**json.loads(path.read_text()))

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.__dict__, indent=1) + "\n")

    def add(self, question: Question, peer: str, said: dict[str, float]) -> None:
        """Keep what one run has said about one question."""
        self.figures.setdefault(question.key, {}).setdefault(peer, []).append(said[question.figure])
        self.runs.setdefault(question.key, {}).setdefault(peer, []).append(said)

    def add_failure(self, question: Question, peer: str, reason: str) -> None:
        self.failures.setdefault(question.key, {})[peer] = reason

    def failure(self, key: str, peer: str) -> str:
        """Return why the peer gave no figure; empty if it did, or was not asked."""
        return self.failures.get(key, {}).get(peer, "")

    def median(self, key: str, peer: str) -> float | None:
        """Return the peer's median; None if it failed even once, or was not asked."""
        figures = self.figures.get(key, {}).get(peer)
        if not figures or self.failure(key, peer):
            return None
        return statistics.median(figures)

    def ratio(self, question: Question, peer: str) -> float | None:
        """Return the peer's median as a part of the base's; None where one is missing."""
        own = self.median(question.key, peer)
        base = self.median(question.base_key or question.key, question.base)
        return own / base if own and base else None

    def shown_peers(self) -> list[str]:
        return [peer for peer, version in self.peers.items() if is_present(version)]


def is_not_available(reason: str) -> bool:
    """Return whether a failure is nobody's: something beside the loop was missing."""
    return reason.startswith("not available:")


def is_present(version: str) -> bool:
    """Return whether what was noted as a peer's version says that it can take part."""
    return not version.startswith(("not installed:", "not available:"))


@dataclass(frozen=True)
class Target:
    """A ratio that meantime wants to reach."""

    questions: tuple[str, ...]
    at_least: float | None = None
    at_most: float | None = None
    ahead_of: str = ""
    """A pattern for the peers that must be worse, whatever the ratio."""

    def is_reached(self, ratio: float) -> bool:
        if self.at_least is not None:
            return ratio >= self.at_least
        return self.at_most is not None and ratio <= self.at_most

    def __str__(self) -> str:
        sign, bound = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        rivals = f", ahead of {self.ahead_of}" if self.ahead_of else ""
        return f"{sign} {bound:.2f}{rivals}"


class Targets:
    """The targets of `reach.toml`."""

    def __init__(self, path: Path = HERE / "reach.toml") -> None:
        rows = tomllib.loads(path.read_text())["target"]
        self._targets = [Target(**{**row, "questions": tuple(row["questions"])}) for row in rows]

    def all(self) -> list[Target]:
        return list(self._targets)

    def for_question(self, question: Question) -> Target | None:
        """Return the last target whose pattern fits; None where nothing is promised."""
        fitting = [
            target
            for target in self._targets
            if any(fnmatch(question.key, pattern) for pattern in target.questions)
            and (target.at_least is not None) == question.more_is_better
        ]
        return fitting[-1] if fitting else None


def reaches(results: Results, question: Question, peer: str, target: Target) -> bool:
    """Return whether the peer has reached the target, and passed those that it is to pass."""
    ratio = results.ratio(question, peer)
    if ratio is None or not target.is_reached(ratio):
        return False
    names = (name for name in results.shown_peers() if fnmatch(name, target.ahead_of))
    rivals = [rival for name in names if (rival := results.ratio(question, name))]
    return all((ratio > rival) == question.more_is_better for rival in rivals)


def has_targets(peer: str) -> bool:
    return peer.startswith("meantime")


def reached(results: Results, asked: list[Question], peer: str) -> tuple[int, int]:
    """Return how many targets the peer reaches, and how many were tried."""
    targets = Targets()
    marks = []
    for question in asked:
        target = targets.for_question(question)
        if target is None or not question.asks(peer) or peer == C_SERVER:
            continue
        if is_not_available(results.failure(question.key, peer)):
            continue
        marks.append(reaches(results, question, peer, target))
    return sum(marks), len(marks)
