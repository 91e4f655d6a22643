"""Which poller a loop gets, and what meantime.backend() says about it."""

import asyncio
import errno
import os
import subprocess
import sys
import sysconfig

import pytest

import meantime
from meantime.loop import choice as chooser


@pytest.fixture(autouse=True)
def no_wishes(monkeypatch):
    monkeypatch.delenv("MEANTIME_BACKEND", raising=False)
    monkeypatch.delenv("MEANTIME_SPIN_US", raising=False)


@pytest.fixture
def refused(monkeypatch):
    """A machine that refuses io_uring, as most containers do."""

    def refuse():
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(chooser, "UringPoller", refuse)


async def ask():
    return meantime.backend()


def test_the_running_loop_is_asked_first(loop, backend):
    assert loop.run_until_complete(ask()) == backend


def test_the_environment_decides_where_no_argument_does(backend, monkeypatch):
    monkeypatch.setenv("MEANTIME_BACKEND", backend)
    assert meantime.backend() == backend
    loop = meantime.new_event_loop()
    assert loop.run_until_complete(ask()) == backend
    loop.close()


def test_the_argument_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("MEANTIME_BACKEND", "io_uring")
    loop = meantime.EventLoop(backend="epoll")
    assert loop.run_until_complete(ask()) == "epoll"
    loop.close()


def test_another_loop_that_runs_here_is_not_ours(monkeypatch):
    monkeypatch.setenv("MEANTIME_BACKEND", "epoll")
    loop = asyncio.SelectorEventLoop()
    assert loop.run_until_complete(ask()) == "epoll"
    loop.close()


def test_a_refusal_means_epoll_with_the_reason(refused):
    """Most containers refuse io_uring. Programs run there all the same, and nothing is printed."""
    name = meantime.backend()
    assert name.startswith("epoll: io_uring_setup was refused (EPERM: ")
    loop = meantime.new_event_loop()
    assert loop.run_until_complete(ask()) == name
    loop.close()


def test_who_asks_for_io_uring_by_name_gets_it_or_an_error(refused, monkeypatch):
    with pytest.raises(meantime.BackendError, match=r"[Ii]o_uring_setup was refused"):
        meantime.EventLoop(backend="io_uring")
    monkeypatch.setenv("MEANTIME_BACKEND", "io_uring")
    with pytest.raises(meantime.BackendError, match="ask for 'epoll'"):
        meantime.backend()


@pytest.mark.parametrize(
    ("switch", "reason"),
    [
        ("2\n", "sysctl kernel.io_uring_disabled is 2"),
        ("1\n", "sysctl kernel.io_uring_disabled is 1"),
        ("0\n", "a container's seccomp profile forbids it"),
        (None, "seccomp profile or sysctl"),
    ],
)
def test_the_reason_names_the_switch(refused, monkeypatch, tmp_path, switch, reason):
    file = tmp_path / "io_uring_disabled"
    if switch is not None:
        file.write_text(switch)
    monkeypatch.setattr(chooser, "SYSCTL", file)
    assert reason in meantime.backend()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOMEM, errno.EACCES, errno.EINVAL, 9999])
def test_every_refusal_has_its_meaning(number):
    assert chooser.why_refused(OSError(number, "what")).count(": ") == 1


@pytest.mark.parametrize("name", ["kqueue", "EPOLL", " epoll"])
def test_a_backend_that_does_not_exist_is_refused(monkeypatch, name):
    with pytest.raises(ValueError, match=r"backend is .* Use 'io_uring' or 'epoll'"):
        meantime.EventLoop(backend=name)
    monkeypatch.setenv("MEANTIME_BACKEND", name)
    with pytest.raises(ValueError, match=r"MEANTIME_BACKEND is .* Use 'io_uring' or 'epoll'"):
        meantime.new_event_loop()


@pytest.mark.parametrize("text", ["-1", "much", "nan", "inf", "1e9"])
def test_a_time_to_spin_that_means_nothing_is_refused(monkeypatch, text):
    monkeypatch.setenv("MEANTIME_SPIN_US", text)
    with pytest.raises(ValueError, match=r"MEANTIME_SPIN_US is .* Use microseconds"):
        meantime.new_event_loop()


def test_a_negative_time_to_spin_is_refused():
    with pytest.raises(ValueError, match="spin_s is -1"):
        meantime.EventLoop(spin_s=-1)


@pytest.mark.parametrize(("text", "spin_s"), [("50", 50e-6), ("0", 0.0), ("", 0.0)])
def test_the_environment_says_how_long_to_spin(monkeypatch, text, spin_s):
    monkeypatch.setenv("MEANTIME_SPIN_US", text)
    assert chooser.wanted_spin_s(None) == pytest.approx(spin_s)
    assert chooser.wanted_spin_s(0.001) == pytest.approx(0.001)


# --- Free threading -------------------------------------------------------------------------------

LOOK = "import sys, meantime; print(sys._is_gil_enabled()); meantime.new_event_loop().close()"


def test_without_the_interpreters_lock_no_loop_is_made(monkeypatch):
    """The core relies on it. An error at the start is better than a crash once a week."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with pytest.raises(meantime.BackendError, match="PYTHON_GIL=0"):
        meantime.new_event_loop()
    with pytest.raises(meantime.BackendError, match="global interpreter lock"):
        meantime.backend()


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python is not free-threaded"
)
@pytest.mark.parametrize(
    ("setting", "lock", "end", "said"),
    [
        ({}, "True\n", 0, "RuntimeWarning: The global interpreter lock (GIL) has been enabled"),
        ({"PYTHON_GIL": "1"}, "True\n", 0, ""),
        ({"PYTHON_GIL": "0"}, "False\n", 1, "meantime's core is not safe without it yet"),
    ],
    ids=["left alone", "lock asked for", "lock refused"],
)
def test_a_free_threaded_python_gets_its_lock_back(setting, lock, end, said):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    done = subprocess.run(
        [sys.executable, "-c", LOOK], capture_output=True, text=True, env=environment | setting
    )
    assert (done.stdout, done.returncode) == (lock, end)
    assert said in done.stderr
