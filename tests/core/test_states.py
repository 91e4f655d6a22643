"""The life of a transport is a table, and the compiled code follows it.

Every pair of a state and an event is walked: arrows of the table lead where it says, and all others
lead nowhere. A transport that finds another way would tell its protocol twice, or never.
"""

import asyncio
import itertools
import socket
from contextlib import contextmanager

import pytest

from meantime._core.datagram import DatagramTransport
from meantime._core.endpoint import NEXT
from meantime._core.pipes import WritePipeTransport
from meantime._core.transport import StreamTransport
from tests.core.wires import take, turn, turn_until

STATES = ["OPENING", "OPEN", "DRAINING", "LOST", "CLOSED"]
KINDS = {
    "stream": StreamTransport,
    "datagram": DatagramTransport,
    "write pipe": WritePipeTransport,
}
EVENTS = ["made", "close", "close with bytes queued", "abort", "error", "sent", "told"]


class Counter(asyncio.Protocol, asyncio.DatagramProtocol):
    """Counts what must happen once."""

    made = lost = 0

    def connection_made(self, transport):
        self.made += 1

    def connection_lost(self, exc):
        self.lost += 1


class Life:
    """One transport, on its way through the table."""

    def __init__(self, loop, kind):
        self.loop = loop
        type_ = socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM
        here, self.peer = socket.socketpair(socket.AF_UNIX, type_)
        here.setblocking(False)
        self.peer.setblocking(False)
        self.protocol = Counter()
        self.transport = KINDS[kind](loop, here, self.protocol)
        self.write = self.transport.sendto if kind == "datagram" else self.transport.write

    @property
    def state(self):
        return self.transport._state

    def fill(self):
        """Write until the kernel has no more room and something is queued, if it can be."""
        for _ in range(10_000):
            if self.transport.get_write_buffer_size() or self.state in {"LOST", "CLOSED"}:
                return
            self.write(b"f" * 4096)
        pytest.fail("the kernel took it all")

    def drain(self):
        """Give the kernel room until nothing is queued."""
        while take(self.peer) or self.transport.get_write_buffer_size():
            if self.transport.get_write_buffer_size():
                turn(self.loop)


def reach(life, state):
    """Bring a new transport to `state`."""
    if state == "OPENING":
        return
    turn(life.loop)
    if state == "DRAINING":
        life.fill()
        life.transport.close()
    elif state in {"LOST", "CLOSED"}:
        life.transport.abort()
        if state == "CLOSED":
            turn(life.loop)


def close_with_bytes_queued(life):
    life.fill()
    life.transport.close()


HAPPEN = {
    "made": lambda life: life.transport._made(None),
    "close": lambda life: life.transport.close(),
    "close with bytes queued": close_with_bytes_queued,
    "abort": lambda life: life.transport.abort(),
    "error": lambda life: life.transport._force_close(ConnectionResetError()),
    "sent": lambda life: life.drain(),
    "told": lambda life: turn(life.loop),
}

# What cannot be brought about, because it is the loop itself that does it, once and in this order.
IMPOSSIBLE = {
    ("CLOSED", "made"): "nobody is left to tell",
    ("OPENING", "told"): "the turn that would tell it is the one in which it is made",
}


@contextmanager
def living(loop, kind):
    life = Life(loop, kind)
    try:
        yield life
    finally:
        life.peer.close()
        life.transport.abort()
        turn(loop, 2)


def test_the_table_speaks_of_no_other_state_or_event():
    """Otherwise this walk would leave out an arrow."""
    assert {state for state, _ in NEXT} | set(NEXT.values()) == set(STATES)
    assert {event for _, event in NEXT} == set(EVENTS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("state", "event"),
    [pair for pair in itertools.product(STATES, EVENTS) if pair not in IMPOSSIBLE],
)
def test_each_event_leads_where_the_table_says(loop, kind, state, event):
    with living(loop, kind) as life:
        reach(life, state)
        assert life.state == state
        HAPPEN[event](life)
        assert life.state == NEXT.get((state, event), state)
    assert life.state == "CLOSED"
    assert life.protocol.lost == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "events", list(itertools.permutations(["close", "abort", "error", "told"]))
)
def test_the_end_is_told_once_whatever_leads_there(loop, kind, events):
    """A protocol that hears of it twice gives its resources back twice."""
    with living(loop, kind) as life:
        turn(loop)
        for event in events:
            HAPPEN[event](life)
        turn(loop, 3)
        assert (life.state, life.protocol.made, life.protocol.lost) == ("CLOSED", 1, 1)


@pytest.mark.parametrize("end", ["close", "abort", "error"])
def test_a_transport_that_ends_before_it_is_made_is_still_made_first(loop, end):
    """A protocol sets itself up in connection_made; connection_lost counts on that."""
    with living(loop, "stream") as life:
        HAPPEN[end](life)
        turn(loop, 2)
        assert (life.protocol.made, life.protocol.lost) == (1, 1)


def test_what_is_queued_before_the_transport_is_made_is_sent(loop):
    with living(loop, "stream") as life:
        close_with_bytes_queued(life)
        assert life.state == "DRAINING"
        life.drain()
        turn_until(loop, lambda: life.state == "CLOSED")
        assert (life.protocol.made, life.protocol.lost) == (1, 1)
