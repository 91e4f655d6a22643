"""run, Runner, install; and the names of asyncio under ours."""

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import unittest
import warnings

import pytest

import meantime
from meantime import runner


async def which_loop():
    return type(asyncio.get_running_loop())


def test_run_gives_the_result():
    assert meantime.run(which_loop()) is meantime.EventLoop


def test_run_takes_another_factory_and_debug_mode():
    async def look():
        return asyncio.get_running_loop().get_debug()

    assert meantime.run(which_loop(), loop_factory=asyncio.SelectorEventLoop) is (
        asyncio.SelectorEventLoop
    )
    assert meantime.run(look(), debug=True)


def test_run_takes_coroutines_only():
    with pytest.raises((ValueError, TypeError)):
        meantime.run(lambda: None)


def test_run_says_so_when_a_loop_runs_already():
    async def nest():
        coroutine = which_loop()
        try:
            meantime.run(coroutine)
        finally:
            coroutine.close()

    with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
        meantime.run(nest())


def test_a_runner_keeps_its_loop_between_runs():
    with meantime.Runner() as one:
        assert one.run(which_loop()) is meantime.EventLoop
        loop = one.get_loop()
        one.run(which_loop())
        assert one.get_loop() is loop
    assert loop.is_closed()


def test_run_closes_generators_and_cancels_tasks():
    log = []

    async def background():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    async def main():
        task = asyncio.create_task(background())
        await asyncio.sleep(0)
        return task

    assert meantime.run(main()).cancelled()
    assert log == ["cancelled"]


def test_the_standard_hook_takes_our_factory():
    with asyncio.Runner(loop_factory=meantime.new_event_loop) as one:
        assert one.run(which_loop()) is meantime.EventLoop


# --- install --------------------------------------------------------------------------------------


@pytest.fixture(params=["by this Python's means", "by replacing the function"])
def installed(request, monkeypatch):
    """Both ways to install, on every Python: 3.14 has only the second."""
    if request.param == "by replacing the function":
        monkeypatch.setattr(runner, "HAS_POLICIES", False)
    meantime.install()
    yield
    meantime.uninstall()


class LoopOfTestCase(unittest.IsolatedAsyncioTestCase):
    """A test case that notes its loop; collected by no runner."""

    __test__ = False
    seen = None

    async def runTest(self):
        type(self).seen = await which_loop()


def test_installed_every_way_in_makes_our_loops(installed):
    assert asyncio.run(which_loop()) is meantime.EventLoop
    with asyncio.Runner() as one:
        assert one.run(which_loop()) is meantime.EventLoop
    LoopOfTestCase().run()
    assert LoopOfTestCase.seen is meantime.EventLoop
    loop = asyncio.new_event_loop()
    assert type(loop) is meantime.EventLoop
    loop.close()


def test_uninstalled_nothing_is_left(installed):
    meantime.uninstall()
    assert asyncio.run(which_loop()) is not meantime.EventLoop


def test_installing_twice_is_undone_at_once(installed):
    meantime.install()
    meantime.uninstall()
    assert asyncio.run(which_loop()) is not meantime.EventLoop


def test_uninstalling_without_installing_does_nothing():
    meantime.uninstall()
    assert asyncio.run(which_loop()) is not meantime.EventLoop


def test_what_another_library_has_set_since_stays(monkeypatch):
    monkeypatch.setattr(runner, "HAS_POLICIES", False)
    meantime.install()

    def theirs():
        return asyncio.SelectorEventLoop()

    ours = asyncio.new_event_loop
    monkeypatch.setattr(asyncio.events, "new_event_loop", theirs)
    meantime.uninstall()
    assert asyncio.events.new_event_loop is theirs
    assert asyncio.new_event_loop is not ours


@pytest.mark.skipif(sys.version_info < (3, 14), reason="up to 3.13 policies are the way")
def test_installing_touches_no_policy():
    """They are deprecated from 3.14 on, and gone with 3.16: using them would warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        meantime.install()
        try:
            assert asyncio.run(which_loop()) is meantime.EventLoop
        finally:
            meantime.uninstall()


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="policies are deprecated from 3.14 on")
def test_a_policy_of_another_library_stays():
    meantime.install()
    theirs = asyncio.DefaultEventLoopPolicy()
    asyncio.set_event_loop_policy(theirs)
    meantime.uninstall()
    assert asyncio.get_event_loop_policy() is theirs
    asyncio.set_event_loop_policy(None)


@pytest.mark.parametrize("has_policies", [runner.HAS_POLICIES, False])
def test_the_loop_that_a_thread_has_set_stays(monkeypatch, has_policies):
    """A program that installs late must not find itself on two loops."""
    monkeypatch.setattr(runner, "HAS_POLICIES", has_policies)
    loop = asyncio.SelectorEventLoop()
    asyncio.set_event_loop(loop)
    try:
        meantime.install()
        assert asyncio.get_event_loop() is loop
        meantime.uninstall()
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="from 3.14 on it makes no loop")
def test_get_event_loop_makes_our_loop_where_it_makes_one():
    meantime.install()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            loop = asyncio.get_event_loop()
        assert type(loop) is meantime.EventLoop
        asyncio.set_event_loop(None)
        loop.close()
    finally:
        meantime.uninstall()


# --- The module -----------------------------------------------------------------------------------


def test_every_public_name_of_asyncio_is_here():
    for name in asyncio.__all__:
        found = getattr(meantime, name)
        if not getattr(found, "__module__", "").startswith("meantime."):
            assert found is getattr(asyncio, name)
    assert meantime.subprocess is asyncio.subprocess


def test_private_and_unknown_names_are_not_here():
    for name in ("_unheard_of", "nonsense"):
        with pytest.raises(AttributeError, match="module 'meantime' has no attribute"):
            getattr(meantime, name)


def test_all_names_are_listed():
    assert {"run", "sleep", "Queue"} <= set(dir(meantime))
    assert all(hasattr(meantime, name) for name in meantime.__all__)


def in_new_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_importing_changes_nothing():
    done = in_new_python(
        """
        import asyncio, signal, sys, threading
        before = asyncio.new_event_loop, asyncio.events.new_event_loop, sys.excepthook
        import meantime
        assert before == (asyncio.new_event_loop, asyncio.events.new_event_loop, sys.excepthook)
        async def main():
            return type(asyncio.get_running_loop())
        assert asyncio.run(main()).__module__.startswith("asyncio")
        assert threading.active_count() == 1
        """
    )
    assert done.stderr == ""


def test_without_the_core_programs_run_on_asyncios_loop():
    done = in_new_python(
        """
        import sys, warnings
        sys.modules["meantime._core.sockets"] = None
        sys.modules["meantime._core.poller.epoll"] = None
        sys.modules["meantime._core.poller.uring"] = None
        import meantime
        assert meantime.backend().startswith("asyncio: the compiled core is missing"), (
            meantime.backend())
        async def main():
            return 42
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert meantime.run(main()) == 42
            assert meantime.run(main()) == 42
        (warning,) = [w for w in caught if w.category is meantime.FallbackWarning]
        assert "Install meantime from a wheel" in str(warning.message)
        try:
            meantime.EventLoop(backend="epoll")
        except meantime.BackendError as error:
            assert "missing here" in str(error)
        """
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_a_loop_that_could_not_be_opened_is_dropped_quietly(monkeypatch):
    monkeypatch.setenv("MEANTIME_SPIN_US", "nonsense")
    with pytest.raises(ValueError, match="MEANTIME_SPIN_US"):
        meantime.new_event_loop()
    gc.collect()
