"""Objects that were not set up, or not as meant: an exception says so, and nothing crashes.

What could crash runs in a process of its own, so that it fails one test and not the run. The fuzzer
of tests/fuzz found most of these, and looks for more.
"""

import asyncio
import copy
import gc
import os
import pickle
import socket
import subprocess
import sys
import textwrap
import warnings

import pytest

import meantime
from meantime._core.poller.ring import Ring
from meantime._core.poller.scripted import ScriptedPoller
from meantime._core.sockets import CoreLoop
from meantime._core.transport import StreamTransport
from tests.core.wires import Recorder, joined, turn, turn_until

PREPARE = """
import asyncio, os, socket, sys, threading
import meantime
from meantime._core.datagram import DatagramTransport
from meantime._core.listener import Listener
from meantime._core.pipes import ReadPipeTransport, WritePipeTransport
from meantime._core.poller.epoll import EpollPoller
from meantime._core.poller.ring import Ring
from meantime._core.poller.uring import UringPoller
from meantime._core.sockets import CoreLoop
from meantime._core.tls import TlsTransport
from meantime._core.transport import StreamTransport

backend = sys.argv[1]
loop = meantime.EventLoop(backend=backend)
poller_class = type(loop._poller)
ours, theirs = socket.socketpair()
ours.setblocking(False)
unset = CoreLoop.__new__(CoreLoop)

def turn(loop=loop):
    loop.stop()
    loop.run_forever()

def outcome(function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def say(function, *arguments):
    print(outcome(function, *arguments))
"""

# What is done, and how the line begins that it prints.
MISUSES = {
    "stop a listener that was not set up": (
        "say(Listener.__new__(Listener).stop)",
        "RuntimeError: this Listener was not set up",
    ),
    "start a listener that was not set up": (
        "say(Listener.__new__(Listener).start)",
        "RuntimeError: this Listener was not set up",
    ),
    "listen on a loop that was not set up": (
        "say(Listener(unset, socket.create_server(('127.0.0.1', 0)), print, 1).start)",
        "RuntimeError: cannot watch descriptor",
    ),
    "make a transport without a loop": (
        "say(StreamTransport, None, ours, asyncio.Protocol())",
        "TypeError: Argument 'loop' ",
    ),
    "make a datagram transport without a loop": (
        "say(DatagramTransport, None, ours, asyncio.Protocol())",
        "TypeError: Argument 'loop' ",
    ),
    "make a transport on a loop that was not set up": (
        "say(StreamTransport, unset, ours, asyncio.Protocol())",
        "RuntimeError: cannot watch descriptor",
    ),
    "make a loop without a poller": (
        "say(CoreLoop, None)",
        "TypeError: Argument 'poller' ",
    ),
    "forget a waiter of a loop that was not set up": (
        "waiter = loop.create_future(); waiter.cancel(); say(unset._forget_cancelled, 0, waiter)",
        "None",
    ),
    "close the poller of a loop and run it": (
        "say(loop._poller.close); turn()",
        "RuntimeError: cannot close this poller",
    ),
    "close the poller in a callback": (
        """
        other = os.eventfd(1)
        loop.add_reader(other, lambda: (say(loop._poller.close), loop.stop()))
        loop.add_reader(os.eventfd(1), int)
        loop.run_forever()
        """,
        "RuntimeError: cannot close this poller",
    ),
    "set up a loop again": (
        "say(CoreLoop.__init__, loop, poller_class()); turn()",
        "RuntimeError: this event loop is set up already",
    ),
    "give two loops one poller": (
        "say(CoreLoop, loop._poller); turn()",
        "RuntimeError: this poller serves another event loop",
    ),
    "give a loop a closed poller": (
        "poller = poller_class(); poller.close(); say(CoreLoop, poller)",
        "RuntimeError: cannot watch descriptor",
    ),
    "set up a transport again": (
        """
        transport = StreamTransport(loop, ours, asyncio.Protocol())
        say(transport.__init__, loop, theirs, asyncio.Protocol())
        transport.abort()
        turn(); turn()
        """,
        "RuntimeError: <StreamTransport fd=",
    ),
    "make a pipe's transport without a loop": (
        """
        for kind in (ReadPipeTransport, WritePipeTransport):
            say(kind, None, ours, asyncio.Protocol())
        """,
        "TypeError: Argument 'loop' has incorrect type",
    ),
    "set up a pipe's transport again": (
        """
        transport = ReadPipeTransport(loop, ours, asyncio.Protocol())
        say(transport.__init__, loop, theirs, asyncio.Protocol())
        turn(); transport.close(); turn(); turn()
        """,
        "RuntimeError: <ReadPipeTransport",
    ),
    "use a TLS transport that was not set up": (
        """
        unset = TlsTransport.__new__(TlsTransport)
        say(unset.connection_made, asyncio.Transport())
        for call in (unset.close, unset.abort, unset.eof_received, unset.resume_writing):
            outcome(call)
        outcome(unset.data_received, b"x"), outcome(unset.write, b"x")
        outcome(unset.get_extra_info, "peercert"), outcome(unset.connection_lost, None)
        """,
        "RuntimeError: <TlsTransport closed over None> cannot begin a handshake",
    ),
    "take a TCP connection for a socket of datagrams": (
        """
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        accepted.setblocking(False)
        heard = []
        class Protocol(asyncio.DatagramProtocol):
            def datagram_received(self, data, addr):
                heard.append((data, addr))
                loop.stop()
        transport = DatagramTransport(loop, accepted, Protocol())
        client.send(b"x")
        loop.run_forever()
        print(heard)
        transport.abort()
        turn(); turn()
        """,
        "[(b'x', None)]",
    ),
    "wait for a descriptor beyond all": (
        "say(loop._wait_readable, (1 << 31) - 1)",
        "OSError: [Errno 9] Bad file descriptor: descriptor 2147483647",
    ),
    "receive from a closed blocking socket": (
        "theirs.close(); say(loop.run_until_complete, loop.sock_recvfrom(theirs, 10))",
        "OSError: [Errno 9] Bad file descriptor",
    ),
    "make a ring of nonsense": (
        "outcome(Ring, 'x', 'y'); outcome(Ring, 0, 0); say(os.fstat, 0)",
        "os.stat_result",
    ),
    "use a ring that is closed": (
        "poller = poller_class(); poller.close(); print(poller.count_armed())",
        "0",
    ),
    "watch from another thread while the loop waits": (
        """
        loop.call_soon(threading.Thread(target=lambda: [
            outcome(loop.add_reader, os.eventfd(0), print) for _ in range(600)
        ] + [loop.call_soon_threadsafe(loop.stop)]).start)
        loop.run_forever()
        print("done")
        """,
        "done",
    ),
    "close the core of a running loop in a forked child": (
        """
        def fork():
            pid = os.fork()
            if pid == 0:
                said = outcome(loop._close_core)
                os._exit(7 if "Cannot close a running" in said else 8)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            loop.stop()
        loop.call_soon(fork)
        loop.call_soon(print, "after")
        loop.run_forever()
        """,
        "7",
    ),
    "compare a descriptor as it likes": (
        """
        class Liar(int):
            def __lt__(self, other):
                return False
        say(loop.add_reader, Liar(-1), print)
        """,
        "ValueError: Invalid file descriptor: -1",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("misuse", MISUSES)
def test_a_misuse_is_an_exception_and_nothing_worse(backend, misuse):
    program, said = MISUSES[misuse]
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PREPARE + textwrap.dedent(program), backend],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(said)


@pytest.mark.parametrize("method", ["call_soon", "call_later"])
def test_a_handle_cannot_be_copied_or_pickled(loop, method):
    """A pickle would set the C fields of the copy to whatever it says."""
    handle = loop.call_soon(print, 1) if method == "call_soon" else loop.call_later(9, print, 1)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises((TypeError, pickle.PicklingError)):
            pickle.dumps(handle, protocol)
    for copied in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copied(handle)
    assert not hasattr(handle, "__setstate__")


@pytest.mark.parametrize("spin_s", [-1.0, 2.0, float("nan"), float("inf")])
def test_a_core_loop_refuses_to_spin_for_nonsense(spin_s):
    with pytest.raises(ValueError, match="spin_s is"):
        CoreLoop(ScriptedPoller(), spin_s)


def test_a_ring_says_what_is_wrong_with_its_arguments():
    for arguments in (("x", 1), (1,), (1, -1), (1 << 40, 1)):
        with pytest.raises((TypeError, OverflowError)):
            Ring(*arguments)


def test_a_clock_that_tells_no_number_does_not_stop_the_loop(backend):
    """Timers are then never due, but the loop goes on."""

    class Loop(meantime.EventLoop):
        def time(self):
            return float("nan")

    loop = Loop(backend=backend)
    sleeping = loop.call_at(5, print)
    loop.call_soon(loop.call_soon, loop.stop)
    loop.run_forever()
    sleeping.cancel()
    loop.close()


class Interrupted(Recorder):
    """Is interrupted by Ctrl-C when it is told that it may write again."""

    def pause_writing(self):
        self.told.append("pause")

    def resume_writing(self):
        raise KeyboardInterrupt


def test_a_ctrl_c_in_one_connection_does_not_hold_back_what_others_wrote(loop):
    """They had been gathered to send at the end of the turn, and would not ask again."""
    other = Recorder()
    with joined(loop, Interrupted()) as (first, _), joined(loop, other) as (second, peer):
        first.set_write_buffer_limits(high=1)

        def write():
            first.write(b"more than one")
            second.write(b"second")

        turn(loop, 2)
        loop.call_soon(write)
        with pytest.raises(KeyboardInterrupt):
            turn(loop)
        assert not loop.is_running()
        turn(loop)
        assert peer.recv(100) == b"second"


def test_a_ctrl_c_when_all_is_sent_does_not_keep_a_connection_open(loop):
    protocol = Interrupted()
    with joined(loop, protocol) as (transport, peer):
        transport.set_write_buffer_limits(high=1)
        turn(loop, 2)
        loop.call_soon(lambda: (transport.write(b"the last words"), transport.close()))
        with pytest.raises(KeyboardInterrupt):
            turn(loop)
        turn_until(loop, lambda: protocol.lost)
        assert peer.recv(100) == b"the last words"


def test_a_wrong_piece_leaves_nothing_half_written(loop):
    """The pieces before it would be sent by nobody, and close() would wait for them for ever."""
    protocol = Recorder()
    with joined(loop, protocol) as (transport, peer):
        strided = memoryview(bytes(10))[::2]
        with pytest.raises((TypeError, BufferError)):
            transport.writelines([b"first", strided])
        assert transport.get_write_buffer_size() == 0
        transport.close()
        turn_until(loop, lambda: protocol.lost)
        assert peer.recv(100) == b""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_unclosed_transport_frees_its_descriptor_when_warnings_are_errors(loop):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    transport = StreamTransport(loop, ours, asyncio.Protocol())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transport.__del__()
    assert theirs.recv(1) == b""
    theirs.close()


def test_a_server_that_refuses_a_transport_does_not_leave_it_watched(loop):
    class Server:
        def _attach(self, transport):
            raise ZeroDivisionError

    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    watched = loop._watch_count()
    with pytest.raises(ZeroDivisionError):
        StreamTransport(loop, ours, asyncio.Protocol(), None, None, Server())
    assert loop._watch_count() == watched
    ours.close()
    theirs.close()


def test_what_the_collector_frees_may_still_use_the_core():
    """An object without a place for references is not asked before the collector clears others.

    Its destructor runs in the middle of it, and meets a loop and handles that are being cleared.
    """
    errors = []

    def make():
        loop = CoreLoop(ScriptedPoller())

        class Late:
            __slots__ = ()

            def __del__(self):
                try:
                    loop.call_soon(print)
                    loop.call_later(1, print)
                    loop.call_soon_threadsafe(print)
                    timer.cancel()
                    loop.stop()
                    loop._run()
                except RuntimeError as error:
                    errors.append(error)

        timer = loop.call_later(1, print, Late())
        loop.call_soon(print, Late(), timer, loop)
        loop.set_task_factory(lambda *_: (loop, Late(), timer))

    make()
    gc.collect()
    # One of them runs the loop, and finds the others in it.
    assert set(map(str, errors)) <= {"This event loop is already running"}
