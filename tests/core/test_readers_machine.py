"""Readers and writers against a model, with descriptors that are closed and given out again."""

import os
import select
import socket

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

import meantime
from tests.core.wires import turn

PLACES = st.integers(0, 3)
SIDES = st.sampled_from(["reader", "writer"])


class Place:
    """A descriptor number that keeps its number, whatever socket is behind it."""

    def __init__(self):
        self.here, self.peer = socket.socketpair()
        self.number = self.here.fileno()
        self.calls = {"reader": None, "writer": None}
        self.set_up()

    def set_up(self):
        for sock in (self.here, self.peer):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)

    def reopen(self):
        """Close the socket, and have its number given out for another one."""
        self.here.close()
        self.peer.close()
        here, self.peer = socket.socketpair()
        if here.fileno() != self.number:
            os.dup2(here.fileno(), self.number)
            here.close()
            here = socket.socket(fileno=self.number)
        self.here = here
        self.calls = {"reader": None, "writer": None}
        self.set_up()

    def ready(self):
        """Ask the kernel itself what a reader and a writer should be told."""
        poll = select.poll()
        poll.register(self.number, select.POLLIN | select.POLLOUT)
        events = dict(poll.poll(0)).get(self.number, 0)
        ended = events & (select.POLLHUP | select.POLLERR)
        return {
            "reader": bool(events & select.POLLIN or ended),
            "writer": bool(events & select.POLLOUT or ended),
        }


class Machine(RuleBasedStateMachine):
    """Four descriptors, each with a reader and a writer or without."""

    def __init__(self, backend):
        super().__init__()
        self.loop = meantime.EventLoop(backend=backend)
        self.places = [Place() for _ in range(4)]
        self.called, self.count = [], 0
        turn(self.loop)
        self.watched_by_the_loop = self.loop._watch_count()

    @rule(index=PLACES, side=SIDES)
    def add(self, index, side):
        place = self.places[index]
        self.count += 1
        add = self.loop.add_reader if side == "reader" else self.loop.add_writer
        add(place.number, self.called.append, (index, side, self.count))
        place.calls[side] = self.count

    @rule(index=PLACES, side=SIDES)
    def remove(self, index, side):
        place = self.places[index]
        remove = self.loop.remove_reader if side == "reader" else self.loop.remove_writer
        # A watch outlives its descriptor until somebody notices, so only a sure one is asserted.
        removed = remove(place.number)
        if place.calls[side] is not None:
            assert removed
        place.calls[side] = None

    @rule(index=PLACES, side=SIDES)
    def remove_itself(self, index, side):
        """A callback that takes itself away, as one that waits for one event does."""
        place = self.places[index]
        self.count += 1
        number = self.count
        add = self.loop.add_reader if side == "reader" else self.loop.add_writer
        remove = self.loop.remove_reader if side == "reader" else self.loop.remove_writer

        def call():
            self.called.append((index, side, number))
            assert remove(place.number)
            place.calls[side] = None

        add(place.number, call)
        place.calls[side] = number

    @rule(index=PLACES, size=st.sampled_from([1, 100, 100_000]))
    def send(self, index, size):
        try:
            self.places[index].peer.send(bytes(size))
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass

    @rule(index=PLACES)
    def fill(self, index):
        try:
            while True:
                self.places[index].here.send(bytes(1000))
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass

    @rule(index=PLACES, of_peer=st.booleans())
    def take(self, index, of_peer):
        place = self.places[index]
        sock = place.peer if of_peer else place.here
        try:
            while sock.recv(100_000):
                pass
        except (BlockingIOError, ConnectionResetError):
            pass

    @rule(index=PLACES)
    def hang_up(self, index):
        try:
            self.places[index].peer.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    @precondition(lambda self: self.count)
    @rule(index=PLACES, politely=st.booleans(), again=SIDES)
    def reuse(self, index, politely, again):
        """Close a watched descriptor, politely or not, and watch the next one of its number."""
        place = self.places[index]
        if politely:
            for side in ("reader", "writer"):
                self.remove(index, side)
        place.reopen()
        self.loop.remove_reader(place.number)
        self.loop.remove_writer(place.number)
        self.add(index, again)

    @rule(count=st.integers(1, 3))
    def turns(self, count):
        for _ in range(count):
            expected = []
            for index, place in enumerate(self.places):
                ready = place.ready()
                expected += [
                    (index, side, number)
                    for side, number in place.calls.items()
                    if number is not None and ready[side]
                ]
            self.called.clear()
            turn(self.loop)
            assert sorted(self.called) == sorted(expected)

    def teardown(self):
        for index in range(len(self.places)):
            for side in ("reader", "writer"):
                self.remove(index, side)
        assert self.loop._watch_count() == self.watched_by_the_loop
        self.loop.close()
        for place in self.places:
            place.here.close()
            place.peer.close()


def test_readers_and_writers_are_told_what_poll_says(backend):
    run_state_machine_as_test(
        lambda: Machine(backend),
        settings=settings(max_examples=60, stateful_step_count=40, deadline=None),
    )
