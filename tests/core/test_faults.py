"""Mistakes and misfortunes: asyncio's exceptions, with words that say what to do."""

import asyncio
import os
import socket
import threading

import pytest

from meantime._core.datagram import DatagramTransport
from meantime._core.listener import Listener
from meantime._core.transport import StreamTransport
from tests.core.wires import LOCAL, Recorder, fill, joined, reset, turn, turn_until


async def nothing():
    pass


SCHEDULE = {
    "call_soon": lambda loop, callback: loop.call_soon(callback),
    "call_soon_threadsafe": lambda loop, callback: loop.call_soon_threadsafe(callback),
    "call_later": lambda loop, callback: loop.call_later(0, callback),
    "call_at": lambda loop, callback: loop.call_at(0, callback),
}
every_way = pytest.mark.parametrize("method", SCHEDULE)


@every_way
@pytest.mark.parametrize("callback", [None, 1, "text", object()], ids=repr)
def test_what_cannot_be_called_is_refused(loop, method, callback):
    """At once, where the mistake is, and not in a turn that nobody can connect with it."""
    with pytest.raises(TypeError, match=rf"a callable object was expected by {method}\(\)") as told:
        SCHEDULE[method](loop, callback)
    assert "Give the function itself" in str(told.value)


@every_way
def test_a_coroutine_in_the_place_of_a_callback_is_refused(loop, method):
    coro = nothing()
    with pytest.raises(TypeError, match=r"Use loop\.create_task") as told:
        SCHEDULE[method](loop, coro)
    assert f"coroutines cannot be used with {method}()" in str(told.value)
    coro.close()


@every_way
def test_a_function_that_makes_coroutines_is_refused_in_debug_mode(loop, method):
    """Its coroutine would be made in silence, and never be awaited."""
    loop.set_debug(True)
    with pytest.raises(TypeError, match="would never be awaited"):
        SCHEDULE[method](loop, nothing)


@every_way
def test_another_thread_is_told_of_the_way_that_is_safe(loop, method):
    """Only in debug mode: the check costs, and the mistake shows there."""
    told = []

    def call():
        try:
            SCHEDULE[method](loop, print)
        except RuntimeError as error:
            told.append(str(error))

    def start():
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    loop.set_debug(True)
    loop.call_soon(start)
    turn(loop)
    if method == "call_soon_threadsafe":
        assert told == []
    else:
        assert "Use loop.call_soon_threadsafe() from another thread" in told[0]


@pytest.mark.parametrize("delay_s", [-1, -1e30, float("-inf"), 0, -0.0])
def test_a_time_that_has_passed_means_soon(loop, delay_s):
    ran = []
    loop.call_later(delay_s, ran.append, 1)
    loop.call_at(delay_s, ran.append, 2)
    turn(loop, 2)
    assert sorted(ran) == [1, 2]


def test_a_time_that_is_none_at_all_is_refused(loop):
    for call in (loop.call_later, loop.call_at):
        with pytest.raises(ValueError, match="nan"):
            call(float("nan"), print)


@pytest.mark.parametrize("kind", ["stream", "datagram", "listener"])
def test_a_closed_loop_takes_no_socket(loop, kind):
    loop.close()
    use = {
        "stream": lambda: StreamTransport(loop, sock, asyncio.Protocol()),
        "datagram": lambda: DatagramTransport(loop, sock, asyncio.DatagramProtocol()),
        "listener": lambda: Listener(loop, sock, asyncio.Protocol, 1).start(),
    }
    with socket.create_server((LOCAL, 0)) as sock, pytest.raises(RuntimeError, match="closed"):
        use[kind]()


def test_a_transport_can_be_closed_after_its_loop(loop):
    """A program that ends in disorder must not drown in errors."""
    with joined(loop, Recorder()) as (transport, peer):
        loop.close()
        with pytest.warns(ResourceWarning, match="unclosed transport"):
            transport.__del__()
        assert peer.recv(1) == b""


def test_a_closed_descriptor_is_named(loop):
    with pytest.raises(OSError, match="Bad file descriptor: descriptor 12345"):
        loop.add_reader(12_345, print)


@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_a_file_is_refused_with_the_way_to_read_it(loop, tmp_path, method):
    """A file is always ready: waiting for it would block the loop, or spin."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with path.open("rb") as file:
        with pytest.raises(PermissionError, match="to_thread"):
            getattr(loop, method)(file, print)
        assert not loop.remove_reader(file)


def test_a_descriptor_that_was_closed_while_watched_can_be_used_again(loop):
    """Its number is given out again, and the new one is somebody else's."""
    reading, writing = os.pipe()
    loop.add_reader(reading, print)
    os.close(reading)
    os.close(writing)
    heard = []
    again, writing = os.pipe()
    assert again == reading
    loop.add_reader(again, heard.append, 1)
    os.write(writing, b"x")
    turn_until(loop, lambda: heard)
    assert loop.remove_reader(again)
    os.close(again)
    os.close(writing)


@pytest.mark.parametrize("reading", [True, False])
def test_a_reset_peer_is_an_oserror_for_streams(loop, reading):
    """What a program catches when it says `except ConnectionError`."""

    async def use():
        if reading:
            await reader.read()
        else:
            while True:
                writer.write(bytes(1000))
                await writer.drain()

    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    with joined(loop, protocol) as (transport, peer):
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        if not reading:
            fill(transport)
        task = loop.create_task(use())
        turn(loop)
        reset(peer)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            loop.run_until_complete(task)


@pytest.mark.parametrize("fault", ["refused", "in use"])
def test_an_address_that_does_not_serve_is_named(loop, fault):
    """The error's text is what ends up in a log, and it must say which of all addresses."""
    with socket.create_server((LOCAL, 0)) as listener:
        port = listener.getsockname()[1]
        if fault == "in use":
            with pytest.raises(OSError, match=str(port)) as told:
                loop.run_until_complete(loop.create_server(asyncio.Protocol, LOCAL, port))
            assert isinstance(told.value, OSError)
    if fault == "refused":
        with pytest.raises(ConnectionRefusedError, match=str(port)):
            loop.run_until_complete(loop.create_connection(asyncio.Protocol, LOCAL, port))
