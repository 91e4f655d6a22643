"""What a reader holds and gives, and what those may change who reach into it or inherit from it."""

import asyncio
import gc
import inspect
import sys
import weakref
from unittest import mock

import pytest

import meantime
from tests.core.wires import turn


@pytest.fixture
def reader(any_loop):
    return meantime.StreamReader(loop=any_loop)


def at_once(awaitable):
    """Return what a coroutine gives at its first step: it must not wait."""
    with pytest.raises(StopIteration) as ended:
        awaitable.send(None)
    return ended.value.value


# --- Without waiting ------------------------------------------------------------------------------


def test_what_is_there_is_read_without_waiting(reader):
    reader.feed_data(b"line\nabcd|efg")

    assert at_once(reader.readline()) == b"line\n"
    assert at_once(reader.readexactly(2)) == b"ab"
    assert at_once(reader.readuntil(b"|")) == b"cd|"
    assert at_once(reader.read(100)) == b"efg"


def test_a_piece_that_is_read_whole_is_not_copied(reader):
    piece = bytes(70_000)
    reader.feed_data(piece)

    assert at_once(reader.read(100_000)) is piece


def test_what_may_change_is_copied(reader):
    data = bytearray(b"before")
    reader.feed_data(data)
    data[:] = b"behind"

    assert at_once(reader.read(10)) == b"before"


def test_a_byte_at_a_time_does_not_cost_an_object_a_byte(reader):
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(60_000):
        reader.feed_data(b"xy")

    assert sys.getallocatedblocks() - before < 1_000
    assert at_once(reader.readexactly(120_000)) == b"xy" * 60_000


def test_nothing_happens_before_the_first_step(reader):
    reading = reader.readexactly(-1)

    reader.feed_data(b"x")
    with pytest.raises(ValueError, match="readexactly size can not be less than zero"):
        reading.send(None)


def test_the_coroutines_are_coroutines(reader):
    reading = reader.read()

    assert asyncio.iscoroutine(reading)
    assert "StreamReader.read " in repr(reading)
    reading.close()
    for name in ("read", "readexactly", "readuntil", "readline"):
        assert inspect.iscoroutinefunction(getattr(meantime.StreamReader, name))
        assert inspect.iscoroutinefunction(getattr(reader, name))


def test_signatures_can_be_asked_for():
    signatures = {
        meantime.StreamReader: "(limit=65536, loop=None)",
        meantime.StreamReader.read: "(self, n=-1)",
        meantime.StreamReader.readuntil: r"(self, separator=b'\n')",
        meantime.StreamWriter: "(transport, protocol, reader, loop)",
        meantime.StreamWriter.drain: "(self)",
    }
    assert {called: str(inspect.signature(called)) for called in signatures} == signatures


def test_a_mock_of_a_reader_has_methods_to_await(any_loop):
    reader = mock.create_autospec(meantime.StreamReader, instance=True)
    reader.readline.return_value = b"line\n"

    async def read():
        return await reader.readline()

    assert any_loop.run_until_complete(read()) == b"line\n"


# --- Waiting --------------------------------------------------------------------------------------


def test_only_one_task_may_wait(any_loop, reader):
    first = any_loop.create_task(reader.read(1))
    turn(any_loop)

    with pytest.raises(RuntimeError, match="already waiting for incoming data"):
        any_loop.run_until_complete(reader.readline())
    reader.feed_data(b"xy")
    assert any_loop.run_until_complete(first) == b"x"


def test_a_cancelled_reader_leaves_the_next_one_its_place(any_loop, reader):
    """The first is told of its cancellation after the second has begun to wait."""
    first = any_loop.create_task(reader.read(1))
    turn(any_loop)
    reader.feed_data(b"x")
    assert at_once(reader.read(1)) == b"x"
    second = any_loop.create_task(reader.read(1))
    first.cancel()
    turn(any_loop, 2)
    reader.feed_data(b"y")

    assert any_loop.run_until_complete(second) == b"y"
    assert first.cancelled()


def test_reading_to_the_end_may_be_cancelled_and_begun_again(any_loop, reader):
    reader.feed_data(b"one ")
    reading = any_loop.create_task(reader.read())
    turn(any_loop)
    reader.feed_data(b"two ")
    turn(any_loop)
    reading.cancel()
    turn(any_loop)
    reader.feed_data(b"three")
    reader.feed_eof()

    assert any_loop.run_until_complete(reader.read()) == b"one two three"


def test_a_coroutine_that_is_dropped_puts_back_what_it_took(reader):
    reader.feed_data(b"one ")
    reading = reader.read()
    reading.send(None)
    del reading
    gc.collect()
    reader.feed_data(b"two")

    assert reader._waiter is None
    assert at_once(reader.readexactly(7)) == b"one two"


def test_reading_on_while_paused_resumes(any_loop):
    transport = mock.Mock()
    reader = meantime.StreamReader(limit=10, loop=any_loop)
    reader.set_transport(transport)
    reader.feed_data(bytes(21))
    assert transport.mock_calls == [mock.call.pause_reading()]

    reading = any_loop.create_task(reader.readexactly(22))
    turn(any_loop)
    assert transport.mock_calls == [mock.call.pause_reading(), mock.call.resume_reading()]
    reader.feed_data(bytes(1))
    any_loop.run_until_complete(reading)


def test_a_transport_that_cannot_be_paused_is_asked_once(any_loop):
    transport = mock.Mock()
    transport.pause_reading.side_effect = NotImplementedError
    reader = meantime.StreamReader(limit=1, loop=any_loop)
    reader.set_transport(transport)
    for _ in range(3):
        reader.feed_data(b"abc")

    assert transport.pause_reading.call_count == 1
    assert at_once(reader.readexactly(9)) == b"abc" * 3


def test_iteration_ends_with_the_stream(any_loop, reader):
    reader.feed_data(b"one\ntwo\nrest")
    reader.feed_eof()

    async def lines():
        return [line async for line in reader]

    assert any_loop.run_until_complete(lines()) == [b"one\n", b"two\n", b"rest"]


# --- Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", ["text", 7, None, [b"x"]])
def test_a_separator_is_bytes(reader, separator):
    reader.feed_data(b"data")
    with pytest.raises(TypeError):
        reader.readuntil(separator).send(None)


@pytest.mark.parametrize("count", ["1", None, 1.5])
def test_a_count_is_a_whole_number(reader, count):
    reader.feed_data(b"data")
    for read in (reader.read, reader.readexactly):
        with pytest.raises(TypeError):
            read(count).send(None)
    assert reader._buffer == b"data"


class Seven:
    def __index__(self):
        return 7


def test_a_count_is_what_says_that_it_is_one(reader):
    reader.feed_data(bytes(20))

    assert len(at_once(reader.read(Seven()))) == 7
    assert len(at_once(reader.readexactly(Seven()))) == 7
    assert len(at_once(reader.read(True))) == 1


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_positive(any_loop, limit):
    with pytest.raises(ValueError, match="Limit cannot be <= 0"):
        meantime.StreamReader(limit=limit, loop=any_loop)


@pytest.mark.parametrize("limit", [sys.maxsize, 2**100, float("inf")])
def test_a_limit_may_be_as_large_as_one_likes(any_loop, limit):
    reader = meantime.StreamReader(limit=limit, loop=any_loop)
    reader.feed_data(bytes(200_000) + b"\n")

    assert reader._limit == limit
    assert len(at_once(reader.readline())) == 200_001


def test_a_reader_that_was_not_set_up_refuses_to_wait(any_loop):
    reader = meantime.StreamReader.__new__(meantime.StreamReader)
    reader.feed_data(b"x")
    assert at_once(reader.read(1)) == b"x"
    with pytest.raises(AttributeError):
        reader.read(1).send(None)


# --- Reaching into it -----------------------------------------------------------------------------


def test_the_buffer_shows_and_takes_changes(reader):
    reader.feed_data(b"one")
    buffer = reader._buffer
    assert type(buffer) is bytearray
    reader.feed_data(b" two")
    assert buffer == b"one two"

    del buffer[:4]
    buffer += b" three"
    assert at_once(reader.readexactly(5)) == b"two t"
    assert buffer == b"hree"
    reader._buffer = bytearray(b"other")
    assert at_once(reader.read(100)) == b"other"


def test_asking_whether_the_buffer_is_empty_changes_nothing(reader):
    """redis-py asks that before each command."""
    for _ in range(3):
        assert len(reader._buffer) == 0
        reader.feed_data(b"+OK\r\n")
        assert reader._buffer
        assert at_once(reader.readline()) == b"+OK\r\n"


def test_the_limit_can_be_changed(reader):
    reader.feed_data(bytes(65_537) + b"\n")
    reader._limit = 65_536
    with pytest.raises(asyncio.LimitOverrunError):
        reader.readuntil().send(None)
    reader._limit = 65_537

    assert len(at_once(reader.readuntil())) == 65_538


def test_readers_are_freed_and_can_have_attributes(any_loop):
    reader = meantime.StreamReader(loop=any_loop)
    reader.note = reader
    reference = weakref.ref(reader)
    del reader
    gc.collect()

    assert reference() is None


def test_asyncios_own_writer_takes_our_reader(any_loop, reader):
    """So it can be mixed by a module that has had asyncio's names from before."""
    transport = mock.Mock()
    writer = asyncio.StreamWriter(transport, mock.Mock(), reader, any_loop)

    assert isinstance(reader, asyncio.StreamReader)
    assert isinstance(reader, meantime.StreamReader)
    writer.close()


# --- Inheriting from it ---------------------------------------------------------------------------


class ShoutingReader(meantime.StreamReader):
    """Replaces what others of its methods are made of."""

    async def readuntil(self, separator=b"\n"):
        return (await super().readuntil(separator)).upper()

    async def read(self, n=-1):
        return (await super().read(n)).upper()


def test_a_subclass_may_replace_what_other_methods_are_made_of(any_loop):
    reader = ShoutingReader(loop=any_loop)
    reader.feed_data(b"one\ntwo\nrest")
    reader.feed_eof()

    async def read():
        return [await reader.readline(), await anext(reader), await reader.read()]

    assert any_loop.run_until_complete(read()) == [b"ONE\n", b"TWO\n", b"REST"]


class PatientReader(meantime.StreamReader):
    """Notes when it waits."""

    waits = ()

    async def _wait_for_data(self, func_name):
        self.waits += (func_name,)
        await super()._wait_for_data(func_name)


def test_a_subclass_may_replace_the_waiting(any_loop):
    reader = PatientReader(loop=any_loop, limit=4)
    reading = any_loop.create_task(reader.readexactly(3))
    turn(any_loop)
    reader.feed_data(b"ab")
    turn(any_loop, 2)
    reader.feed_data(b"cd\n")

    assert any_loop.run_until_complete(reading) == b"abc"
    assert any_loop.run_until_complete(reader.readline()) == b"d\n"
    assert reader.waits == ("readexactly", "readexactly")


def test_a_method_may_be_put_in_the_place_of_another(any_loop, reader):
    async def one_line(separator):
        return b"put in its place"

    reader.readuntil = one_line
    assert any_loop.run_until_complete(reader.readline()) == b"put in its place"


# --- The futures that are used again --------------------------------------------------------------


def test_a_future_that_somebody_has_is_not_used_again(any_loop, reader):
    """Whoever kept it would see it pending once more."""
    kept = []
    for _ in range(6):
        reading = any_loop.create_task(reader.read(1))
        turn(any_loop)
        kept.append(reader._waiter)
        reader.feed_data(b"x")
        assert any_loop.run_until_complete(reading) == b"x"

    assert len({id(future) for future in kept}) == 6
    assert all(future.done() for future in kept)


def test_a_future_is_used_again_for_the_loop_that_the_reader_has(any_loop, reader):
    async def read(count):
        for _ in range(count):
            any_loop.call_soon(reader.feed_data, b"x")
            assert await reader.read(10) == b"x"
            yield reader._loop

    async def read_all(count):
        return [loop async for loop in read(count)]

    assert any_loop.run_until_complete(read_all(5)) == [any_loop] * 5
    other = asyncio.SelectorEventLoop()
    reader._loop = other
    reading = other.create_task(reader.read(1))
    turn(other)
    assert reader._waiter.get_loop() is other
    reader.feed_data(b"y")
    assert other.run_until_complete(reading) == b"y"
    other.close()
