"""Timers and callbacks against plain lists, with callbacks that schedule, cancel, fail and stop.

The clock belongs to the program, as `time()` may be overridden, and goes forwards and backwards.
"""

import threading

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

import meantime
from tests.core.wires import turn

DELAYS_S = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0, 1.5, 7.0, 3600.0, float("inf")])
# What a callback does when it runs.
DEEDS = st.one_of(
    st.just(("nothing", 0)),
    st.tuples(st.sampled_from(["set a timer"]), DELAYS_S),
    st.tuples(st.sampled_from(["cancel", "call soon", "call from a thread"]), st.integers(0, 300)),
    st.sampled_from([("fail", 0), ("stop", 0), ("move the clock", 0)]),
)


class OwnTime(meantime.EventLoop):
    """A loop whose clock the test moves."""

    now_s = 1000.0

    def time(self):
        return self.now_s


class Entry:
    """A callback that was scheduled: once more in the model than in the loop."""

    def __init__(self, machine, number, when_s, deed):
        self.machine, self.number, self.when_s, self.deed = machine, number, when_s, deed
        self.handle = None
        self.is_cancelled = False

    def __call__(self):
        machine = self.machine
        machine.ran.append(self.number)
        if self.when_s is not None:
            assert self.when_s <= machine.loop.time(), "a timer was early"
        name, value = self.deed
        getattr(machine, "do_" + name.replace(" ", "_"))(value)


class Machine(RuleBasedStateMachine):
    """The loop, and lists of what should run."""

    def __init__(self, backend):
        super().__init__()
        self.loop = OwnTime(backend=backend)
        self.reported = []
        self.loop.set_exception_handler(lambda _, context: self.reported.append(context))
        self.entries, self.ready, self.from_threads, self.timers = [], [], [], []
        self.ran, self.failed = [], 0

    # ---- what is scheduled

    def made(self, when_s, deed):
        entry = Entry(self, len(self.entries), when_s, deed)
        self.entries.append(entry)
        return entry

    @rule(delay_s=DELAYS_S, deed=DEEDS)
    def set_timer(self, delay_s, deed):
        entry = self.made(self.loop.time() + delay_s, deed)
        entry.handle = self.loop.call_later(delay_s, entry)
        assert entry.handle.when() == entry.when_s
        self.timers.append(entry)

    @rule(when_s=st.floats(990, 1100), deed=DEEDS)
    def set_timer_at(self, when_s, deed):
        entry = self.made(when_s, deed)
        entry.handle = self.loop.call_at(when_s, entry)
        self.timers.append(entry)

    @rule(count=st.integers(1, 150), deed=DEEDS)
    def set_many(self, count, deed):
        for number in range(count):
            self.set_timer(0.5 + number % 7, deed if number == count // 2 else ("nothing", 0))

    @rule(deed=DEEDS, is_threadsafe=st.booleans())
    def call_soon(self, deed, is_threadsafe=False):
        entry = self.made(None, deed)
        schedule = self.loop.call_soon_threadsafe if is_threadsafe else self.loop.call_soon
        entry.handle = schedule(entry)
        self.ready.append(entry)

    @rule(number=st.integers(0, 300))
    def cancel(self, number):
        if self.entries:
            entry = self.entries[number % len(self.entries)]
            entry.handle.cancel()
            entry.is_cancelled = True

    @rule(every=st.integers(2, 5))
    def cancel_many(self, every):
        for entry in self.entries[::every]:
            entry.handle.cancel()
            entry.is_cancelled = True

    # ---- what callbacks do

    def do_nothing(self, _):
        pass

    def do_set_a_timer(self, delay_s):
        self.set_timer(delay_s, ("nothing", 0))

    def do_cancel(self, number):
        self.cancel(number)

    def do_call_soon(self, count):
        for _ in range(count % 70):
            self.call_soon(("nothing", 0))

    def do_call_from_a_thread(self, count):
        """What other threads send keeps their order, and runs in the next turn."""

        def call():
            for _ in range(count % 70):
                entry = self.made(None, ("nothing", 0))
                self.from_threads.append(entry)
                entry.handle = self.loop.call_soon_threadsafe(entry)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    def do_fail(self, _):
        self.failed += 1
        raise ZeroDivisionError

    def do_stop(self, _):
        self.loop.stop()

    def do_move_the_clock(self, _):
        self.loop.now_s += 0.5

    # ---- turns

    @rule(by_s=st.sampled_from([0.25, 0.5, 1.0, 3.0, 4000.0, -0.25, -2.0]))
    def move_the_clock(self, by_s):
        self.loop.now_s += by_s

    @rule()
    def take_a_turn(self):
        now_s = self.loop.time()
        queued, self.ready = self.ready, []
        sent, self.from_threads = self.from_threads, []
        due = sorted(
            (entry for entry in self.timers if entry.when_s <= now_s and not entry.is_cancelled),
            key=lambda entry: (entry.when_s, entry.number),
        )
        self.timers = [entry for entry in self.timers if entry not in due]
        self.ran.clear()
        turn(self.loop)
        ran = list(self.ran)
        # Who was cancelled by another callback of this turn, after it had run, did run.
        expected = [*queued, *sent, *due]
        assert set(ran) <= {entry.number for entry in expected}
        assert len(set(ran)) == len(ran), "something ran twice"
        missing = {entry.number for entry in expected} - set(ran)
        assert all(self.entries[number].is_cancelled for number in missing)
        for group in (queued, sent, due):
            numbers = [entry.number for entry in group if entry.number in set(ran)]
            assert [number for number in ran if number in set(numbers)] == numbers
        timers = {entry.number for entry in due}
        assert [number in timers for number in ran] == sorted(number in timers for number in ran)
        assert len(self.reported) == self.failed

    def teardown(self):
        # Nothing is forgotten: what is still queued runs, and what was cancelled does not.
        self.loop.now_s += 10_000
        self.take_a_turn()
        self.take_a_turn()
        self.loop.close()


def test_callbacks_and_timers_do_what_lists_do(backend):
    run_state_machine_as_test(
        lambda: Machine(backend),
        settings=settings(max_examples=60, stateful_step_count=30, deadline=None),
    )
