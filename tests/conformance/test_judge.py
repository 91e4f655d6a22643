"""The judge decides what may land, so it is judged too."""

import json
import tomllib

import pytest

from tests.conformance import judge


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """Return a function that judges outcomes against skips, and returns the exit status."""

    def judged(outcomes, skips, file_name="3.13-epoll.json"):
        results = tmp_path / file_name
        tests = {
            f"test.test_asyncio.{name}": {"class": "applicable", "status": status}
            for name, status in outcomes.items()
        }
        results.write_text(json.dumps({"python": "3.13.0", "tests": tests}))
        listed = tmp_path / "skips.toml"
        listed.write_text("\n".join(f"[[skip]]\n{entry}" for entry in skips) or "skip = []")
        monkeypatch.setattr(judge, "SKIPS", listed)
        return judge.main([results])

    return judged


TLS = 'tests = ["test_ssl.*"]\nreason = "no TLS"\n'


def test_a_run_without_failures_is_accepted(judged):
    assert judged({"test_locks.A.test_a": "pass"}, []) == 0


@pytest.mark.parametrize("status", ["fail", "error", "timeout", "crash"])
def test_a_failure_that_is_not_listed_is_refused(judged, status, capsys):
    assert judged({"test_locks.A.test_a": status, "test_ssl.B.test_b": "fail"}, [TLS]) == 1
    assert f"{status.upper()} test_locks.A.test_a" in capsys.readouterr().out


def test_a_listed_failure_is_accepted(judged):
    assert judged({"test_ssl.B.test_b": "fail"}, [TLS]) == 0


def test_an_entry_with_nothing_to_excuse_is_refused(judged, capsys):
    """Else the list would go on saying that TLS is missing long after it came."""
    assert judged({"test_ssl.B.test_b": "pass"}, [TLS]) == 1
    assert "take it out" in capsys.readouterr().out


def test_an_entry_for_another_python_or_poller_is_left_alone(judged):
    others = [TLS + 'python = ["3.11"]\n', TLS + 'backend = "io_uring"\n']
    assert judged({"test_locks.A.test_a": "pass"}, others) == 0
    assert judged({"test_ssl.B.test_b": "fail"}, others) == 1
    assert judged({"test_ssl.B.test_b": "fail"}, [others[1]], "3.13-io_uring.json") == 0


def test_the_readme_names_each_test_that_may_fail():
    readme = judge.SKIPS.with_name("README.md").read_text()
    entries = tomllib.loads(judge.SKIPS.read_text())["skip"]
    assert all(f"`{pattern}`" in readme for entry in entries for pattern in entry["tests"])
    assert readme.count("| `test_") == sum(len(entry["tests"]) for entry in entries)
