"""Signals: handlers as callbacks, waking up, and Ctrl-C."""

import asyncio
import os
import signal
import socket
import threading
import warnings

import pytest

import meantime


def send(sig):
    os.kill(os.getpid(), sig)


def test_a_handler_runs_as_a_callback(loop):
    async def session():
        came = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, came.set_result, "here")
        send(signal.SIGUSR1)
        return await came

    assert loop.run_until_complete(session()) == "here"


def test_a_signal_wakes_a_sleeping_loop(loop):
    """It sleeps in the kernel, with nothing else that could wake it."""
    loop.add_signal_handler(signal.SIGALRM, loop.stop)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    loop.run_forever()


def test_a_signal_in_another_thread_wakes_the_loop(loop):
    """The kernel gives a signal to any thread; the main one sleeps on."""
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)

    thread = threading.Thread(
        target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    )
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()


def test_the_last_handler_counts(loop):
    heard = []
    loop.add_signal_handler(signal.SIGUSR1, heard.append, "first")
    loop.add_signal_handler(signal.SIGUSR1, lambda: (heard.append("second"), loop.stop()))
    send(signal.SIGUSR1)
    loop.run_forever()
    assert heard == ["second"]


def test_a_removed_handler_leaves_the_default_one(loop):
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGINT, print)
    assert loop.remove_signal_handler(signal.SIGUSR1)
    assert loop.remove_signal_handler(signal.SIGINT)
    assert not loop.remove_signal_handler(signal.SIGINT)
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_closing_the_loop_removes_its_handlers(loop):
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_failing_handler_is_reported_like_a_callback(loop):
    contexts = []

    def report(loop, context):
        contexts.append(context)
        loop.stop()

    loop.set_exception_handler(report)
    loop.add_signal_handler(signal.SIGUSR1, lambda: 1 / 0)
    send(signal.SIGUSR1)
    loop.run_forever()
    assert isinstance(contexts[0]["exception"], ZeroDivisionError)


async def nothing():
    pass


@pytest.mark.parametrize(
    ("sig", "callback", "error", "message"),
    [
        (signal.SIGUSR1, nothing, TypeError, "coroutines cannot be used with add_signal_handler"),
        ("SIGUSR1", print, TypeError, "sig must be an int"),
        (-1, print, ValueError, "invalid signal number -1"),
        (signal.SIGKILL, print, RuntimeError, "cannot be caught"),
    ],
)
def test_what_cannot_work_is_refused(loop, sig, callback, error, message):
    with pytest.raises(error, match=message):
        loop.add_signal_handler(sig, callback)


def test_handlers_are_for_the_main_thread(loop):
    errors = []

    def add():
        try:
            loop.add_signal_handler(signal.SIGUSR1, print)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=add)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


# --- The wake-up descriptor -----------------------------------------------------------------------


def current_wakeup_fd():
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    return fd


def test_the_wakeup_descriptor_is_ours_only_while_the_loop_runs(loop):
    async def look():
        return current_wakeup_fd()

    assert loop.run_until_complete(look()) != -1
    assert current_wakeup_fd() == -1


def test_a_wakeup_descriptor_of_the_program_stays(loop):
    async def look():
        return current_wakeup_fd()

    left, right = socket.socketpair()
    with left, right:
        right.setblocking(False)
        signal.set_wakeup_fd(right.fileno())
        try:
            assert loop.run_until_complete(look()) == right.fileno()
            assert current_wakeup_fd() == right.fileno()
        finally:
            signal.set_wakeup_fd(-1)


def test_a_wakeup_descriptor_that_the_program_sets_meanwhile_stays(loop):
    left, right = socket.socketpair()
    right.setblocking(False)

    async def take_over():
        signal.set_wakeup_fd(right.fileno())

    with left, right:
        try:
            loop.run_until_complete(take_over())
            assert current_wakeup_fd() == right.fileno()
        finally:
            signal.set_wakeup_fd(-1)


# --- Ctrl-C ---------------------------------------------------------------------------------------


def test_an_interrupt_leaves_a_sleeping_loop(loop):
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert not loop.is_running()


def test_run_turns_an_interrupt_into_a_cancellation(backend, monkeypatch):
    """The program can clean up; then the interrupt goes on."""
    monkeypatch.setenv("MEANTIME_BACKEND", backend)
    log = []

    async def main():
        try:
            asyncio.get_running_loop().call_soon(send, signal.SIGINT)
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            log.append("cleaned up")
            raise

    with pytest.raises(KeyboardInterrupt):
        meantime.run(main())
    assert log == ["cleaned up"]


def test_a_forked_child_does_not_run_the_parents_handlers(loop):
    heard = []
    loop.add_signal_handler(signal.SIGUSR1, heard.append, 1)

    async def fork():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads around
            pid = os.fork()
        if pid == 0:
            try:
                send(signal.SIGUSR1)
            finally:
                os._exit(len(heard))
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert loop.run_until_complete(fork()) == 0
    loop.run_until_complete(asyncio.sleep(0))
    assert heard == []
