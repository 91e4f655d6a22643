"""Whatever two ends do to each other inside of TLS, what arrives is what was written."""

import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import meantime
from meantime._core.tls import TlsTransport
from meantime._core.transport import StreamTransport
from tests.core.test_transport_property import ENDS, KINDS, SIZES, End, Session
from tests.core.tls_wires import client_context, server_context
from tests.core.wires import PAIRS, turn, turn_until

STEPS = st.one_of(
    st.tuples(st.just("write"), ENDS, st.sampled_from(sorted(KINDS)), SIZES),
    st.tuples(st.just("writelines"), ENDS, st.sampled_from(sorted(KINDS)), SIZES),
    st.tuples(st.just("burst"), ENDS, st.sampled_from(sorted(KINDS)), st.integers(1, 200)),
    st.tuples(st.sampled_from(["pause_reading", "resume_reading"]), ENDS),
    st.tuples(st.sampled_from(["switch", "set_marks"]), ENDS),
    st.tuples(st.just("turn"), st.integers(1, 5)),
)
LAST_STEP = st.tuples(st.sampled_from(["close", "abort"]), ENDS)
CONTEXTS = {"left": server_context(), "right": client_context()}


class TlsEnd(End):
    """An end of a stream that ends in both directions at once."""

    def eof_received(self):
        super().eof_received()
        return False


class TlsSession(Session):
    """Two TLS transports joined to each other; steps may come before the handshake is done."""

    def __init__(self, loop, kind):
        self.loop = loop
        self.ends = {"left": TlsEnd(), "right": TlsEnd()}
        for (name, end), sock in zip(self.ends.items(), PAIRS[kind](), strict=True):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
            is_server = name == "left"
            end.transport = TlsTransport(
                loop,
                end,
                CONTEXTS[name],
                server_side=is_server,
                server_hostname=None if is_server else "localhost",
            )
            StreamTransport(loop, sock, end.transport)

    def do_switch(self, end):
        if end.transport._state == "OPEN":
            super().do_switch(end)

    def shake_hands(self):
        ends = self.ends.values()
        turn_until(self.loop, lambda: all(end.transport._state == "OPEN" for end in ends))

    def finish(self):
        for end in self.ends.values():
            end.transport.resume_reading()
        turn_until(self.loop, lambda: all(end.lost for end in self.ends.values()))


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("kind", ["tcp", "unix"])
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(early=st.lists(STEPS, max_size=3), steps=st.lists(STEPS, max_size=25), last=LAST_STEP)
def test_what_arrives_is_what_was_written(backend, kind, early, steps, last):
    loop = meantime.EventLoop(backend=backend)
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    session = TlsSession(loop, kind)
    try:
        session.play(early)
        session.shake_hands()
        session.play([*steps, last])
        session.finish()
    finally:
        for end in session.ends.values():
            end.transport.abort()
        turn(loop, 3)
        loop.close()
    left, right = session.ends.values()
    for sender, receiver in ((left, right), (right, left)):
        assert sender.written.startswith(receiver.received)
    # Who closes still says all that it has to say, and is heard; it listens no more.
    how, who = last
    if how == "close":
        sender, receiver = (left, right) if who == "left" else (right, left)
        assert receiver.received == sender.written
        assert receiver.got_eof
    assert (left.lost, right.lost) == (1, 1)
    assert contexts == []
