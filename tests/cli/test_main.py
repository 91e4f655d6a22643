"""The command line itself, and `meantime backend`."""

import pytest

import meantime as package
from meantime import cli


def test_the_version_is_printed(meantime):
    done = meantime("--version")
    assert done.stdout == f"meantime {package.__version__}\n"


@pytest.mark.parametrize("command", [[], ["run"], ["backend"]])
def test_help_is_printed(meantime, command):
    done = meantime(*command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: meantime")


@pytest.mark.parametrize("words", [[], ["fly"], ["--nonsense"], ["run", "--nonsense", "x.py"]])
def test_wrong_words_give_usage_and_status_2(words, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert "usage: meantime" in capsys.readouterr().err


def test_the_backend_is_printed(monkeypatch, capsys, backend):
    monkeypatch.setenv("MEANTIME_BACKEND", backend)
    assert cli.main(["backend"]) == 0
    assert capsys.readouterr().out == f"{backend}\n"


def test_a_wish_that_means_nothing_is_an_error(monkeypatch, capsys):
    monkeypatch.setenv("MEANTIME_BACKEND", "kqueue")
    assert cli.main(["backend"]) == 1
    assert "Use 'io_uring' or 'epoll'" in capsys.readouterr().err
