"""What both pollers promise of descriptors, asked through the loop and of real descriptors."""

import asyncio
import os
import socket
import tempfile

import pytest


@pytest.fixture
def eventfd():
    """A descriptor that is readable while its count is above 0, and always writable."""
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    yield fd
    os.close(fd)


@pytest.fixture
def pipe():
    """Both ends of a pipe that does not block."""
    ends = os.pipe2(os.O_NONBLOCK)
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def pair():
    """Two connected non-blocking sockets."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


def run_turns(loop, count):
    """Run so many turns, none of which sleeps."""
    for _ in range(count):
        loop.stop()
        loop.run_forever()


# --- Readers and writers --------------------------------------------------------------------------


def test_a_reader_is_called_in_each_turn_until_all_is_read(loop, pipe):
    """asyncio's readers may read as little as they like in each call."""
    reader, writer = pipe
    got = []

    def read():
        got.append(os.read(reader, 1))
        if got[-1] == b"c":
            loop.stop()

    os.write(writer, b"abc")
    loop.add_reader(reader, read)
    loop.run_forever()
    run_turns(loop, 5)
    assert got == [b"a", b"b", b"c"]


@pytest.mark.parametrize("messages", [1, 5])
def test_a_reader_that_reads_all_is_not_called_for_nothing(loop, pair, messages):
    """It would meet BlockingIOError, which its author never saw on asyncio."""
    ours, theirs = pair
    got = []
    loop.add_reader(ours, lambda: got.append(ours.recv(100)))
    for number in range(messages):
        theirs.send(b"%d" % number)
        run_turns(loop, 4)
    assert got == [b"%d" % number for number in range(messages)]


def test_a_reader_is_not_called_for_what_somebody_else_has_read(any_loop, pair):
    """Its read would block, if the descriptor did."""
    ours, theirs = pair
    called = []
    any_loop.add_reader(ours, called.append, 1)
    run_turns(any_loop, 1)
    theirs.send(b"x")
    assert ours.recv(10) == b"x"
    run_turns(any_loop, 2)
    assert not called
    theirs.send(b"y")
    run_turns(any_loop, 1)
    assert called == [1]
    any_loop.remove_reader(ours)


def test_a_reader_that_reads_nothing_keeps_being_called(loop, eventfd):
    os.eventfd_write(eventfd, 1)
    calls = []
    loop.add_reader(eventfd, calls.append, 1)
    run_turns(loop, 10)
    assert len(calls) >= 8
    loop.remove_reader(eventfd)


def test_a_writer_is_called_in_each_turn_in_which_there_is_room(loop, pipe):
    reader, writer = pipe
    sent = []

    def write():
        try:
            sent.append(os.write(writer, bytes(65_536)))
        except BlockingIOError:
            loop.stop()

    loop.add_writer(writer, write)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    in_the_pipe = sum(sent)
    run_turns(loop, 5)
    assert sum(sent) == in_the_pipe  # it is full
    assert len(os.read(reader, in_the_pipe)) == in_the_pipe
    run_turns(loop, 5)
    assert sum(sent) > in_the_pipe


def test_a_reader_and_a_writer_of_one_descriptor(loop, eventfd):
    called = set()
    loop.add_writer(eventfd, called.add, "writer")
    run_turns(loop, 3)
    assert called == {"writer"}
    loop.add_reader(eventfd, called.add, "reader")
    os.eventfd_write(eventfd, 1)
    run_turns(loop, 3)
    assert called == {"reader", "writer"}
    called.clear()
    assert loop.remove_writer(eventfd)
    run_turns(loop, 3)
    assert called == {"reader"}
    assert loop.remove_reader(eventfd)
    assert not loop.remove_reader(eventfd)


def test_a_reader_takes_the_place_of_another(loop, eventfd):
    called = []
    loop.add_reader(eventfd, called.append, "old")
    loop.add_reader(eventfd, called.append, "new")
    os.eventfd_write(eventfd, 1)
    run_turns(loop, 3)
    assert set(called) == {"new"}


def test_a_removed_reader_hears_nothing(loop, eventfd):
    called = []
    loop.add_reader(eventfd, called.append, 1)
    run_turns(loop, 1)
    os.eventfd_write(eventfd, 1)
    loop.remove_reader(eventfd)
    run_turns(loop, 5)
    assert called == []


def test_a_reader_removed_while_its_event_is_on_its_way_hears_nothing(loop):
    """Whoever removes a reader is about to free what it uses."""
    fds = [os.eventfd(1) for _ in range(20)]
    called = []

    def remove_all():
        called.append(1)
        for fd in fds:
            loop.remove_reader(fd)

    for fd in fds:
        loop.add_reader(fd, remove_all)
    run_turns(loop, 5)
    assert called == [1]
    for fd in fds:
        os.close(fd)


def test_the_end_of_a_pipe_is_readable(loop):
    reader, writer = os.pipe()
    loop.add_reader(reader, loop.stop)
    os.close(writer)
    loop.run_forever()
    assert os.read(reader, 1) == b""
    loop.remove_reader(reader)
    os.close(reader)


def test_a_pipe_without_a_reader_is_writable(loop):
    """Writing then fails with EPIPE, and that is how one learns of it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while os.write(writer, bytes(65_536)):
            pass
    except BlockingIOError:
        pass
    loop.add_writer(writer, loop.stop)
    os.close(reader)
    loop.run_forever()
    loop.remove_writer(writer)
    os.close(writer)


# --- Waiting once ---------------------------------------------------------------------------------


def test_a_waiter_is_woken_once(loop, pair):
    ours, theirs = pair

    async def receive():
        first = asyncio.ensure_future(loop.sock_recv(ours, 1))
        await asyncio.sleep(0)
        theirs.send(b"ab")
        assert await first == b"a"
        for _ in range(5):
            await asyncio.sleep(0)
        return loop._watch_count()

    watched_before = loop._watch_count()
    assert loop.run_until_complete(receive()) <= watched_before + 1


def test_a_cancelled_waiter_loses_nothing(loop, pair):
    """The bytes stay in the socket for whoever asks next."""
    ours, theirs = pair

    async def main():
        waiting = asyncio.ensure_future(loop.sock_recv(ours, 10))
        await asyncio.sleep(0)
        theirs.send(b"x")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return await loop.sock_recv(ours, 10)

    assert loop.run_until_complete(main()) == b"x"


def test_two_tasks_wait_for_one_socket(loop, pair):
    """One reads, one writes; each is woken by its own event."""
    ours, theirs = pair
    load = bytes(1_000_000)

    async def drain():
        left = len(load)
        while left:
            left -= len(await loop.sock_recv(theirs, 65_536))
        await loop.sock_sendall(theirs, b"thanks")

    async def main():
        thanks, *_ = await asyncio.gather(
            loop.sock_recv(ours, 10), loop.sock_sendall(ours, load), drain()
        )
        return thanks

    assert loop.run_until_complete(main()) == b"thanks"


# --- Descriptors that are reused ------------------------------------------------------------------


def test_a_stranger_gets_no_event_of_the_descriptor_before(loop):
    """Closed behind our back, and the number is given out again before the loop looks."""
    called = []
    old, other = os.eventfd(1), os.eventfd(1)
    loop.add_reader(old, called.append, "old")
    run_turns(loop, 1)
    os.close(old)
    new = os.eventfd(0)
    assert new == old
    called.clear()
    loop.add_reader(new, called.append, "new")
    loop.add_reader(other, loop.stop)
    loop.run_forever()
    run_turns(loop, 3)
    assert called == []
    os.eventfd_write(new, 1)
    run_turns(loop, 3)
    assert set(called) == {"new"}
    for fd in (new, other):
        loop.remove_reader(fd)
        os.close(fd)


def test_a_descriptor_that_was_unwatched_closed_and_opened_again_works(loop):
    for _ in range(20):
        fd = os.eventfd(1)
        loop.add_reader(fd, loop.stop)
        loop.run_forever()
        loop.remove_reader(fd)
        os.close(fd)


@pytest.mark.parametrize("is_reused", [False, True])
def test_removing_the_reader_of_a_closed_descriptor_is_no_error(loop, is_reused):
    """Programs close first and remove afterwards, more often than one would like."""
    fd = os.eventfd(1)
    loop.add_reader(fd, print)
    os.close(fd)
    again = os.eventfd(1) if is_reused else None
    assert loop.remove_reader(fd)
    run_turns(loop, 3)
    assert loop._watch_count() <= 1
    if again is not None:
        os.close(again)


def test_a_duplicate_is_a_descriptor_of_its_own(loop, eventfd):
    """Both refer to the same file, and each has its reader."""
    copy = os.dup(eventfd)
    called = []
    loop.add_reader(eventfd, called.append, "original")
    loop.add_reader(copy, called.append, "copy")
    os.eventfd_write(eventfd, 1)
    run_turns(loop, 3)
    assert set(called) == {"original", "copy"}
    loop.remove_reader(copy)
    os.close(copy)
    called.clear()
    run_turns(loop, 3)
    assert set(called) == {"original"}


# --- What cannot be watched -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_a_file_is_refused(loop, method):
    """epoll refuses it and io_uring does not. A program must not work on one of them only."""
    with tempfile.TemporaryFile() as file:
        with pytest.raises(PermissionError, match="to_thread"):
            getattr(loop, method)(file, print)
        assert not loop.remove_reader(file)


def test_a_folder_is_refused(loop, tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(PermissionError):
        loop.add_reader(fd, print)
    os.close(fd)


@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_a_closed_descriptor_is_refused(loop, method):
    fd = os.eventfd(0)
    os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        getattr(loop, method)(fd, print)
    run_turns(loop, 2)


@pytest.mark.parametrize("no_descriptor", [-1, "x", None, object(), 1.5])
def test_what_is_no_descriptor_is_a_value_error(loop, no_descriptor):
    with pytest.raises(ValueError, match="Invalid file"):
        loop.add_reader(no_descriptor, print)


@pytest.mark.parametrize("number", [1 << 20, (1 << 31) - 1])
def test_a_huge_number_is_refused_without_a_huge_table(loop, number):
    with pytest.raises(OSError, match="Bad file descriptor"):
        loop.add_reader(number, print)


def test_the_loops_own_descriptor_is_refused(loop):
    """Taking it away would leave a loop that no thread can wake."""
    own = [
        int(entry)
        for entry in os.listdir("/proc/self/fd")  # noqa: PTH208  Path opens more descriptors
        if os.path.exists(f"/proc/self/fd/{entry}")  # noqa: PTH110
        and "eventfd" in os.readlink(f"/proc/self/fd/{entry}")  # noqa: PTH115
    ]
    refused = 0
    for fd in own:
        try:
            loop.add_reader(fd, print)
        except RuntimeError as error:
            refused += "belongs to the loop itself" in str(error)
        else:
            loop.remove_reader(fd)
    assert refused == 1
