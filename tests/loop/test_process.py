"""Child processes: what goes through their pipes, how they end, and that nothing is left."""

import asyncio
import gc
import logging
import os
import random
import signal
import subprocess
import threading

import psutil
import pytest

import meantime
from meantime.loop import child, exits

PIPE = subprocess.PIPE


@pytest.fixture(autouse=True)
def no_child_is_left():
    """A child whose exit status nobody has read is a zombie."""
    before = children()
    yield
    gc.collect()
    subprocess._cleanup()  # what an unclosed transport left behind is Popen's to reap
    assert children() <= before


def children():
    """Return the process ids of this process's children, zombies included."""
    return {child.pid for child in psutil.Process().children()}


async def run(*command, data=None, **options):
    """Return the exit code and what the program printed."""
    options = {"stdin": PIPE, "stdout": PIPE} | options
    process = await asyncio.create_subprocess_exec(*command, **options)
    printed, _ = await process.communicate(data)
    return process.returncode, printed


class Recorder(asyncio.SubprocessProtocol):
    """Notes which of its methods are called."""

    def __init__(self):
        self.calls = []
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.calls.append("made")

    def pipe_data_received(self, fd, data):
        self.calls.append((fd, data))

    def pipe_connection_lost(self, fd, exc):
        self.calls.append((fd, exc))

    def process_exited(self):
        self.calls.append("exited")

    def connection_lost(self, exc):
        self.calls.append("lost")
        self.lost.set_result(None)


# --- Pipes ----------------------------------------------------------------------------------------


def test_a_mebibyte_goes_through_a_child_and_comes_back(loop):
    data = random.Random(1).randbytes(1 << 20)
    assert loop.run_until_complete(run("cat", data=data)) == (0, data)


def test_a_shell_runs_a_command(loop):
    async def session():
        process = await asyncio.create_subprocess_shell("echo $((6 * 7)); exit 3", stdout=PIPE)
        printed, _ = await process.communicate()
        return process.returncode, printed

    assert loop.run_until_complete(session()) == (3, b"42\n")


def test_standard_error_comes_apart_or_with_the_output(loop):
    async def session():
        command = ["sh", "-c", "echo out; echo err >&2"]
        apart = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
        together = await asyncio.create_subprocess_exec(
            *command, stdout=PIPE, stderr=subprocess.STDOUT
        )
        return await apart.communicate(), await together.communicate()

    apart, together = loop.run_until_complete(session())
    assert apart == (b"out\n", b"err\n")
    assert together == (b"out\nerr\n", None)


def test_files_and_descriptors_take_the_place_of_pipes(loop, tmp_path):
    (tmp_path / "in").write_bytes(b"from a file")
    with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as target:  # noqa: PTH123

        async def session():
            process = await asyncio.create_subprocess_exec(
                "cat", stdin=source, stdout=target.fileno(), stderr=subprocess.DEVNULL
            )
            return await process.wait()

        assert loop.run_until_complete(session()) == 0
    assert (tmp_path / "out").read_bytes() == b"from a file"


def test_a_protocol_is_told_everything_in_order(loop):
    async def session():
        transport, protocol = await loop.subprocess_exec(
            Recorder, "sh", "-c", "printf data; exit 4", stderr=None
        )
        assert protocol.calls[0] == "made"
        assert isinstance(transport, asyncio.SubprocessTransport)
        transport.get_pipe_transport(0).close()
        await protocol.lost
        transport.close()
        return transport.get_returncode(), protocol.calls

    code, calls = loop.run_until_complete(session())
    assert code == 4
    assert calls[0] == "made"
    assert calls.index((1, b"data")) < calls.index((1, None))
    assert calls[-1] == "lost"
    assert sorted(map(str, calls)) == sorted(
        map(str, ["made", (0, None), (1, b"data"), (1, None), "exited", "lost"])
    )


def test_a_write_buffer_that_is_full_pauses_the_protocol(loop):
    """Flow control reaches the process's own protocol, as `drain` relies on it."""
    data = b"x" * (1 << 20)

    async def session():
        process = await asyncio.create_subprocess_exec("sleep", "60", stdin=PIPE)
        process.stdin.write(data)
        drained = asyncio.ensure_future(process.stdin.drain())
        await asyncio.sleep(0)
        is_paused = not drained.done()
        process.kill()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await drained
        await process.wait()
        return is_paused

    assert loop.run_until_complete(session())


@pytest.mark.slow
def test_two_hundred_children_at_once(loop):
    async def session():
        return await asyncio.gather(*[run("cat", data=b"%d" % i) for i in range(200)])

    assert loop.run_until_complete(session()) == [(0, b"%d" % i) for i in range(200)]


# --- The end --------------------------------------------------------------------------------------


def test_the_exit_code_is_the_programs_or_the_signals(loop):
    async def session(command):
        process = await asyncio.create_subprocess_shell(command)
        return await process.wait()

    assert loop.run_until_complete(session("exit 0")) == 0
    assert loop.run_until_complete(session("exit 200")) == 200
    assert loop.run_until_complete(session("kill -TERM $$")) == -signal.SIGTERM
    assert loop.run_until_complete(session("kill -ABRT $$")) == -signal.SIGABRT


@pytest.mark.parametrize(
    ("method", "arguments", "code"),
    [
        ("kill", (), -signal.SIGKILL),
        ("terminate", (), -signal.SIGTERM),
        ("send_signal", (signal.SIGUSR2,), -signal.SIGUSR2),
    ],
)
def test_a_child_can_be_signalled(loop, method, arguments, code):
    async def session():
        process = await asyncio.create_subprocess_exec("sleep", "60")
        getattr(process, method)(*arguments)
        assert await process.wait() == code
        with pytest.raises(ProcessLookupError):
            getattr(process, method)(*arguments)

    loop.run_until_complete(session())


@pytest.mark.slow
def test_a_signal_that_comes_as_the_child_ends_harms_nobody(loop):
    """The number of a child that was reaped may be another process's already."""
    delays = random.Random(2)

    async def session():
        process = await asyncio.create_subprocess_exec("true")
        await asyncio.sleep(delays.random() * 0.003)
        try:
            process.kill()
        except ProcessLookupError:
            assert process.returncode == 0
        return await process.wait()

    for _ in range(100):
        assert loop.run_until_complete(session()) in (0, -signal.SIGKILL)


@pytest.mark.parametrize("end", ["send_signal", "close"])
@pytest.mark.parametrize("has_pidfd", [True, False])
def test_a_reaped_child_is_not_signalled(loop, monkeypatch, caplog, request, has_pidfd, end):
    """Somebody else has read its exit status, so its number may be a stranger's."""
    monkeypatch.setattr(os, "kill", pytest.fail)
    if not has_pidfd:
        request.getfixturevalue("no_pidfds")

    async def session():
        reader, writer = os.pipe()
        transport, protocol = await loop.subprocess_exec(Recorder, "cat", stdin=reader)
        os.close(reader)
        os.close(writer)
        os.waitpid(transport.get_pid(), 0)
        if end == "close":
            transport.close()
        else:
            transport.send_signal(signal.SIGKILL)
        await protocol.lost
        transport.close()
        return transport.get_returncode()

    # Not 0, which would say that all is well.
    assert loop.run_until_complete(session()) == 255
    assert "will report returncode 255" in caplog.text


def test_many_may_wait_and_one_may_give_up(loop):
    async def session():
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE)
        waits = [asyncio.ensure_future(process.wait()) for _ in range(5)]
        await asyncio.sleep(0)
        waits[0].cancel()
        process.stdin.close()
        return await asyncio.gather(*waits, return_exceptions=True)

    cancelled, *codes = loop.run_until_complete(session())
    assert isinstance(cancelled, asyncio.CancelledError)
    assert codes == [0] * 4


def test_the_end_is_told_while_a_grandchild_holds_the_pipe(loop):
    """A daemon that was started by the child must not keep its parent's end from being known."""

    async def session():
        reader, writer = os.pipe()
        try:
            process = await asyncio.create_subprocess_shell(
                f"cat <&{reader} & exit 5", stdout=PIPE, pass_fds=[reader]
            )
            code = await process.wait()
        finally:
            os.close(reader)
            os.close(writer)
        await process.stdout.read()
        return code

    assert loop.run_until_complete(session()) == 5


def test_closing_the_transport_kills_the_child(loop):
    async def session():
        transport, protocol = await loop.subprocess_exec(Recorder, "sleep", "60")
        assert not transport.is_closing()
        transport.close()
        transport.close()
        assert transport.is_closing()
        await protocol.lost
        return transport.get_returncode()

    assert loop.run_until_complete(session()) == -signal.SIGKILL


def test_the_popen_object_may_read_the_exit_status_itself(loop, caplog):
    """asyncio gives out the Popen object, and programs call its methods."""

    async def session():
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 6")
        popen = process._transport.get_extra_info("subprocess")
        assert isinstance(popen, subprocess.Popen)
        assert popen.wait() == 6
        return await process.wait()

    assert loop.run_until_complete(session()) == 6
    assert not caplog.records


def test_another_thread_may_wait_with_the_popen_object(loop, caplog):
    """Whichever of the two reads the exit status, both know it."""

    async def session():
        process = await asyncio.create_subprocess_exec("sh", "-c", "read; exit 6", stdin=PIPE)
        popen = process._transport.get_extra_info("subprocess")
        waiting = asyncio.ensure_future(asyncio.to_thread(popen.wait))
        process.stdin.close()
        return await asyncio.gather(waiting, process.wait())

    for _ in range(20):
        assert loop.run_until_complete(session()) == [6, 6]
    assert not caplog.records


def test_a_transport_tells_what_it_knows(loop):
    async def session():
        transport, _ = await loop.subprocess_exec(Recorder, "cat", stderr=None)
        assert f"pid={transport.get_pid()} running stdin=<" in repr(transport)
        assert transport.get_returncode() is None
        assert transport.get_pipe_transport(0).get_extra_info("pipe") is not None
        assert transport.get_pipe_transport(2) is None
        transport.close()
        await transport._wait()
        assert "closed" in repr(transport)
        assert "returncode=-9" in repr(transport)

    loop.run_until_complete(session())


def test_debug_mode_logs_the_program_without_its_arguments(loop, caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    loop.set_debug(True)
    loop.slow_callback_duration = 60
    assert loop.run_until_complete(run("cat", "-u", data=b"")) == (0, b"")
    assert "execute program 'cat' stdin=<pipe> stdout=<pipe>" in caplog.text
    assert "exited with return code 0" in caplog.text
    assert "-u" not in caplog.text


# --- Giving up ------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(6))
def test_a_start_that_is_cancelled_leaves_no_child(loop, turns):
    """In whichever turn of the loop it happens. The fixtures look for what is left."""

    async def session():
        start = asyncio.ensure_future(
            asyncio.create_subprocess_exec("sleep", "60", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        start.cancel()
        try:
            process = await start
        except asyncio.CancelledError:
            return
        process.kill()
        await process.communicate()

    loop.run_until_complete(session())


def test_a_pipe_that_cannot_be_connected_ends_the_child(loop):
    async def refuse(*_args):
        raise OSError("no pipes today")

    async def session():
        loop.connect_read_pipe = refuse
        with pytest.raises(OSError, match="no pipes today"):
            await asyncio.create_subprocess_exec("sleep", "60", stdin=PIPE, stdout=PIPE)

    loop.run_until_complete(session())


def test_a_loop_that_is_closed_kills_the_child_it_forgets(loop):
    async def session():
        transport, _ = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "sleep", "60", stdin=None, stdout=None, stderr=None
        )
        return transport.get_extra_info("subprocess")

    popen = loop.run_until_complete(session())
    # Nobody else holds the transport: it goes with the loop's callbacks.
    with pytest.warns(ResourceWarning, match="unclosed transport <ProcessTransport pid="):
        loop.close()
    assert popen.wait(10) == -signal.SIGKILL
    del popen


def test_nothing_is_started_on_a_closed_loop(loop):
    loop.close()
    start = loop.subprocess_exec(asyncio.SubprocessProtocol, "true")
    with pytest.raises(RuntimeError, match="closed"):
        start.send(None)


# --- Who else looks after children ----------------------------------------------------------------


@pytest.fixture
def sigchld():
    before = signal.getsignal(signal.SIGCHLD)
    yield lambda handler: signal.signal(signal.SIGCHLD, handler)
    signal.signal(signal.SIGCHLD, before)


def test_the_programs_handler_of_sigchld_stays_and_is_called(loop, sigchld):
    came = []
    sigchld(lambda *_: came.append(1))
    assert loop.run_until_complete(run("sh", "-c", "exit 9")) == (9, b"")
    assert came


def reap_everything(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


@pytest.mark.parametrize("handler", [signal.SIG_IGN, reap_everything])
def test_an_exit_status_that_somebody_else_takes_is_255(loop, sigchld, caplog, handler):
    sigchld(handler)
    assert loop.run_until_complete(run("sh", "-c", "exit 9"))[0] == 255
    assert "will report returncode 255" in caplog.text


def test_a_loop_in_another_thread_hears_of_its_children(backend):
    results = []

    def work():
        loop = meantime.EventLoop(backend=backend)
        try:
            results.append(loop.run_until_complete(run("cat", data=b"thread")))
        finally:
            loop.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(0, b"thread")] * 3


# --- Without pidfds -------------------------------------------------------------------------------


@pytest.fixture
def no_pidfds(monkeypatch):
    """As where the kernel has none; tests/core/test_spawn.py has a sandbox forbid them."""

    def spawn(*given):
        pid, pidfd, *rest = real_spawn(*given)
        if pidfd != -1:
            os.close(pidfd)
        return (pid, -1, *rest)

    real_spawn = child.spawn
    monkeypatch.setattr(child, "spawn", spawn)


def test_a_thread_waits_where_there_are_no_pidfds(loop, no_pidfds):
    assert loop.run_until_complete(run("cat", data=b"data")) == (0, b"data")


def test_without_pidfds_signals_reach_the_child(loop, no_pidfds):
    async def session():
        process = await asyncio.create_subprocess_exec("sleep", "60")
        process.terminate()
        return await process.wait()

    assert loop.run_until_complete(session()) == -signal.SIGTERM


def test_a_pidfd_that_cannot_be_watched_is_done_without(loop, monkeypatch):
    def refuse(*_):
        raise PermissionError

    async def session():
        monkeypatch.setattr(loop, "add_reader", refuse)
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 8")
        return await process.wait()

    assert loop.run_until_complete(session()) == 8


def test_the_waiting_thread_reaps_the_child_of_a_closed_loop(loop, no_pidfds, caplog):
    async def session():
        transport, _ = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "cat", stdout=None, stderr=None
        )
        popen = transport.get_extra_info("subprocess")
        return transport, os.fdopen(os.dup(popen.stdin.fileno()), "wb")

    transport, stdin = loop.run_until_complete(session())
    (waiter,) = [t for t in threading.enumerate() if t.name.startswith("asyncio-waitpid-")]
    transport._pipes[0].pipe.abort()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    stdin.close()
    waiter.join()
    assert "is closed" in caplog.text
    transport.close()


def test_an_exit_watch_that_cannot_begin_leaves_no_child(loop, no_pidfds, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(exits.threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        loop.run_until_complete(run("sleep", "60"))


# --- Popen ----------------------------------------------------------------------------------------


def test_an_ordinary_child_is_not_started_by_popen(loop, monkeypatch):
    """Were Popen's private method to change, all would work on, and be slower without a word."""
    assert child.POPEN_IS_KNOWN
    monkeypatch.setattr(subprocess, "_fork_exec", pytest.fail)
    assert loop.run_until_complete(run("cat", data=b"data")) == (0, b"data")


@pytest.mark.skipif(not hasattr(subprocess, "_USE_VFORK"), reason="it is gone from Debian's 3.14")
def test_who_forbids_vfork_gets_popens_own_start(loop, monkeypatch):
    monkeypatch.setattr(subprocess, "_USE_VFORK", False)
    monkeypatch.setattr(child, "spawn", pytest.fail)
    assert loop.run_until_complete(run("cat", data=b"data")) == (0, b"data")


def test_a_class_in_the_place_of_popen_is_used(loop, monkeypatch):
    class Popen(subprocess.Popen):
        pass

    monkeypatch.setattr(subprocess, "Popen", Popen)

    async def session():
        process = await asyncio.create_subprocess_exec("true")
        assert type(process._transport.get_extra_info("subprocess")) is Popen
        return await process.wait()

    assert loop.run_until_complete(session()) == 0
