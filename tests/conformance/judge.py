"""Judge results of CPython's own asyncio tests against the list of tests that may fail.

    python tests/conformance/judge.py results-3.13-epoll.json results-3.13-io_uring.json …

The exit status is 1 if an applicable test fails that skips.toml does not list, or if an entry of
skips.toml has nothing to excuse: then it is to be taken out, so that the list never says more than
the truth. All the results of one run are judged together, since an entry may concern one of them.
"""

import fnmatch
import json
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

SKIPS = Path(__file__).with_name("skips.toml")
FAILED = {"fail", "error", "timeout", "crash"}
PASSED = {"pass", "xfail"}


@dataclass
class Skip:
    """One entry of skips.toml: tests that may fail, and why."""

    tests: list[str]
    reason: str
    # Restricts the entry: Pythons such as "3.12", a run such as "epoll". Empty means every one.
    python: list[str] = field(default_factory=list)
    backend: str = ""
    used: set[str] = field(default_factory=set)

    def concerns(self, results: dict) -> bool:
        """Tell whether the entry is about such a run."""
        version = ".".join(results["python"].split(".")[:2])
        is_python = not self.python or version in self.python
        return is_python and self.backend in ("", results["run"])

    def excuses(self, test: str) -> bool:
        """Tell whether the entry lists a test, and remember which of its patterns did."""
        matching = {pattern for pattern in self.tests if fnmatch.fnmatchcase(test, pattern)}
        self.used |= matching
        return bool(matching)


def read_results(path: Path) -> dict:
    """Return one run's results, with what the file's name says of it: 3.13-epoll.json."""
    results = json.loads(path.read_text())
    results["run"] = path.stem.partition("-")[2]
    return results


def judge(results: dict, skips: list[Skip]) -> list[str]:
    """Print one run's counts, and return the failures that no entry excuses."""
    applicable = {
        name.removeprefix("test.test_asyncio."): outcome
        for name, outcome in results["tests"].items()
        if outcome["class"] == "applicable"
    }
    concerned = [skip for skip in skips if skip.concerns(results)]
    failures = [name for name, outcome in applicable.items() if outcome["status"] in FAILED]
    unexcused = []
    for name in failures:
        # Every entry is asked, not only the first that excuses, so that "used" is right for all.
        excuses = [skip for skip in concerned if skip.excuses(name)]
        if not excuses:
            unexcused.append(name)

    passed = sum(outcome["status"] in PASSED for outcome in applicable.values())
    twice = [name for name, outcome in applicable.items() if "first" in outcome]
    label = f"CPython {results['python']} with {results['run']}"
    print(
        f"{label}: {len(applicable)} applicable, {passed} passed ({len(twice)} at the second try), "
        f"{len(failures) - len(unexcused)} failed as listed, {len(unexcused)} failed"
    )
    for name in twice:
        print(f"  SECOND TRY {name}")
    for name in unexcused:
        message = applicable[name].get("msg", "").strip().splitlines()[-1:]
        print(f"  {applicable[name]['status'].upper()} {name}  {' '.join(message)}")
    return unexcused


def main(paths: list[Path]) -> int:
    """Judge all runs, and return the exit status."""
    runs = [read_results(path) for path in paths]
    skips = [Skip(**entry) for entry in tomllib.loads(SKIPS.read_text()).get("skip", [])]
    unexcused = [name for results in runs for name in judge(results, skips)]

    idle = [
        (pattern, skip.reason)
        for skip in skips
        if any(skip.concerns(results) for results in runs)
        for pattern in skip.tests
        if pattern not in skip.used
    ]
    for pattern, reason in idle:
        print(f"  {SKIPS.name} excuses {pattern} ({reason}), and nothing there fails: take it out")
    return 1 if unexcused or idle else 0


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(__doc__)
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
