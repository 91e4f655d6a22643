"""The table of calls that are known to block: its form, and that what it names exists."""

import ast
import importlib.util
import json
import sys

import pytest

from meantime.guard.calls import resolve
from meantime.guard.known_calls import TABLE, Index, find, table
from meantime.guard.places import module_of

ROWS = json.loads(TABLE.read_text())["rows"]
STANDARD = [name for row in ROWS if row["package"] is None for name in row["calls"]]


def test_each_row_says_what_and_why():
    for row in ROWS:
        assert set(row) == {"package", "advice", "why", "calls"}
        assert row["advice"]
        assert row["why"].endswith(".")
        assert row["calls"]
        assert not row["advice"].endswith(".")


def test_no_call_stands_there_twice():
    names = [name for row in ROWS for name in row["calls"]]
    assert len(names) == len(set(names))
    assert len(table()) == len(names)


@pytest.mark.parametrize("name", STANDARD)
def test_what_is_named_of_the_standard_library_exists(name):
    """Where a module cannot be imported here, the machine lacks what it stands on."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        break
    assert find(name) is not None


def test_what_is_named_of_an_installed_package_exists():
    import httpx
    import redis

    assert find("httpx.Client.send") is httpx.Client.send
    packages = {httpx.__name__, redis.__name__}
    names = [name for row in ROWS if row["package"] in packages for name in row["calls"]]
    assert len(names) > 10
    assert not [name for name in names if find(name) is None]


def test_a_call_is_found_by_what_it_is():
    import subprocess
    import time

    index = Index()
    index.refresh()
    assert index.of_object(time.sleep).name == "time.sleep"
    assert index.of_code(subprocess.run.__code__).name == "subprocess.run"
    assert index.of_object(len) is None


def test_looking_up_imports_nothing():
    before = set(sys.modules)
    Index().refresh()
    assert set(sys.modules) == before


class Lazy:
    """Makes what it stands for when it is first asked for anything."""

    @property
    def __class__(self):
        raise RuntimeError("there is nothing yet")

    def get(self):
        return None


def test_what_stands_in_for_an_object_is_not_asked():
    called = ast.parse("lazy.get", mode="eval").body
    assert resolve(called, None, {"lazy": Lazy()}, {}) is Lazy.get


def test_a_module_that_is_loaded_on_first_use_is_not_loaded(tmp_path, monkeypatch):
    file = tmp_path / "loaded_late.py"
    file.write_text("raise RuntimeError('it was loaded')\n")
    spec = importlib.util.spec_from_file_location("loaded_late", file)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "loaded_late", module)
    assert module_of("/there/is/no/such/file.py") is None
    assert find("loaded_late.function") is None
