"""Functions in threads."""

import concurrent.futures
import threading

import pytest


def test_a_function_runs_in_another_thread(loop):
    here = threading.get_ident()
    there = loop.run_until_complete(loop.run_in_executor(None, threading.get_ident))
    assert there != here


def test_a_function_gets_its_arguments_and_gives_its_exception(loop):
    with pytest.raises(ValueError, match="invalid literal"):
        loop.run_until_complete(loop.run_in_executor(None, int, "x"))


def test_an_executor_of_ones_own_is_used(loop):
    with concurrent.futures.ThreadPoolExecutor(thread_name_prefix="own") as own:
        name = loop.run_until_complete(
            loop.run_in_executor(own, lambda: threading.current_thread().name)
        )
    assert name.startswith("own")
    assert loop._default_executor is None


def test_the_default_executor_can_be_set(loop):
    own = concurrent.futures.ThreadPoolExecutor(1)
    loop.set_default_executor(own)
    loop.run_until_complete(loop.run_in_executor(None, int))
    assert loop._default_executor is own


def test_what_is_no_thread_pool_is_refused_as_default(loop):
    with pytest.raises(TypeError, match="executor must be ThreadPoolExecutor instance"):
        loop.set_default_executor(object())


def test_after_the_shutdown_no_function_is_taken(loop):
    loop.run_until_complete(loop.run_in_executor(None, int))
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
        loop.run_in_executor(None, int)


def test_a_shutdown_that_takes_too_long_is_given_up_with_a_warning(loop):
    release = threading.Event()
    running = loop.run_in_executor(None, release.wait)
    with pytest.warns(RuntimeWarning, match="The executor did not finish"):
        loop.run_until_complete(loop.shutdown_default_executor(0.01))
    release.set()
    loop.run_until_complete(running)


def test_debug_mode_refuses_coroutine_functions(loop):
    async def work():
        pass

    loop.set_debug(True)
    with pytest.raises(TypeError, match="coroutines cannot be used with run_in_executor"):
        loop.run_in_executor(None, work)
    with pytest.raises(TypeError, match="a callable object was expected by run_in_executor"):
        loop.run_in_executor(None, 1)
