"""However data comes and is read, our reader does what asyncio's does, in the same order."""

import asyncio
import contextlib
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

import meantime
from tests.core.wires import turn

PIECES = st.one_of(
    st.text("ab\n", max_size=8).map(str.encode),
    # Around the size from which on pieces are not joined, and large enough to pause.
    st.tuples(st.text("ab\n", min_size=1, max_size=4), st.integers(100, 700)).map(
        lambda drawn: (drawn[0] * drawn[1])[: drawn[1]].encode()
    ),
)
SEPARATORS = st.sampled_from([b"\n", b"ab", b"aab", b"abab", b"b" * 9, b"a" * 600, b""])
if sys.version_info >= (3, 13):
    SEPARATORS |= st.lists(SEPARATORS, max_size=3).map(tuple)
COUNTS = st.sampled_from([-1, 0, 1, 3, 10, 511, 512, 513, 2000, sys.maxsize, 2**70])

READS = st.one_of(
    st.tuples(st.just("read"), COUNTS),
    st.tuples(st.just("readexactly"), COUNTS),
    st.tuples(st.just("readuntil"), SEPARATORS),
    st.tuples(st.sampled_from(["readline", "__anext__"])),
)
STEPS = st.one_of(
    st.tuples(st.just("feed"), PIECES),
    st.tuples(st.just("feed"), PIECES),
    st.tuples(st.just("ask"), READS),
    st.tuples(st.just("ask"), READS),
    st.tuples(st.just("turn"), st.integers(1, 3)),
    st.tuples(st.sampled_from(["cancel", "look", "change", "hold", "let go"])),
)
LAST_STEPS = st.sampled_from([("eof",), ("fail",), ("cancel",)])


class NotedTransport:
    """Notes when it is paused and resumed."""

    def __init__(self, notes):
        self.notes = notes

    def pause_reading(self):
        self.notes.append("paused")

    def resume_reading(self):
        self.notes.append("resumed")

    def __repr__(self):
        return "<NotedTransport>"


class Session:
    """A reader of one kind, what is done to it, and all that can be seen of it."""

    def __init__(self, reader_class, limit):
        self.notes = []
        self.loop = asyncio.SelectorEventLoop()
        self.reader = reader_class(limit=limit, loop=self.loop)
        self.reader.set_transport(NotedTransport(self.notes))
        self.task = None
        self.held = None

    def do(self, step):
        name, *arguments = step
        getattr(self, f"do_{name.replace(' ', '_')}")(*arguments)
        self.note_state(name)

    def do_feed(self, data):
        if not self.reader._eof:
            self.reader.feed_data(data)

    def do_ask(self, call):
        if self.task is not None and not self.task.done():
            return
        name, *arguments = call
        self.task = self.loop.create_task(self.note_outcome(name, arguments))

    async def note_outcome(self, name, arguments):
        try:
            outcome = await getattr(self.reader, name)(*arguments)
        except BaseException as error:
            self.notes.append((name, *self.of_error(error)))
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            assert type(outcome) is bytes
            self.notes.append((name, outcome))

    @staticmethod
    def of_error(error):
        # Ours go on after asyncio's words, to say what to do.
        words = str(error).split(". ")[0]
        numbers = [getattr(error, name, None) for name in ("partial", "expected", "consumed")]
        return type(error), words, *numbers, type(error.__context__)

    def do_turn(self, count):
        turn(self.loop, count)

    def do_cancel(self):
        if self.task is not None:
            self.task.cancel()

    def do_look(self):
        self.notes.append(bytes(self.reader._buffer))

    def do_change(self):
        if len(self.reader._buffer) > 3:
            del self.reader._buffer[1:3]

    def do_hold(self):
        self.held = self.reader._buffer

    def do_let_go(self):
        self.held = None

    def do_eof(self):
        self.reader.feed_eof()

    def do_fail(self):
        self.reader.set_exception(ConnectionResetError("gone"))

    def note_state(self, name):
        reader = self.reader
        waits = reader._waiter is not None
        self.notes.append(
            (name, reader.at_eof(), waits, reader._paused, repr(reader).split(" waiter=")[0])
        )
        if self.held is not None:
            self.notes.append(bytes(self.held))

    def end(self):
        turn(self.loop, 3)
        self.note_state("end")
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self.loop.run_until_complete(self.task)
        self.notes.append(bytes(self.reader._buffer))
        self.loop.close()
        return self.notes


def outcome(reader_class, limit, steps):
    session = Session(reader_class, limit)
    for step in steps:
        session.do(step)
    return session.end()


def loses_on_asyncio(steps):
    """Whether a read until the end is cancelled or fails: asyncio's loses what it has collected."""
    asked_for_all = [step for step in steps if step[0] == "ask" and step[1] == ("read", -1)]
    return asked_for_all and {step[0] for step in steps} & {"cancel", "fail"}


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 600), st.lists(STEPS, max_size=25), LAST_STEPS)
def test_a_reader_does_what_asyncios_does(limit, steps, last):
    steps = [*steps, last]
    if loses_on_asyncio(steps):
        steps = [step for step in steps if step[:2] != ("ask", ("read", -1))]
    ours = outcome(meantime.StreamReader, limit, steps)
    assert ours == outcome(asyncio.StreamReader, limit, steps)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 600), st.lists(STEPS, max_size=25))
def test_whatever_is_cancelled_no_byte_is_lost_or_changes_its_place(limit, steps):
    session = Session(meantime.StreamReader, limit)
    fed = b""
    for step in steps:
        if step[0] in ("change", "hold", "let go", "look"):
            continue
        if step[0] == "ask" and step[1][0] in ("readline", "__anext__"):
            continue  # a line over the limit is thrown away
        if step[0] == "feed":
            fed += step[1]
        session.do(step)
    session.reader.feed_eof()
    notes = session.end()
    read = b"".join(map(bytes_read, notes[:-1]))
    assert read + notes[-1] == fed


def bytes_read(note):
    """Return what a reading call gave: also what was left when the stream ended in the middle."""
    if not isinstance(note, tuple):
        return b""
    if note[1] is asyncio.IncompleteReadError:
        return note[3]
    return note[1] if isinstance(note[1], bytes) else b""
