"""Threads that do all at once what threads may do to loops, and everything that could race.

    python tests/core/stress.py --seconds 60 --seed 7

Each round starts loops in threads of their own. Other threads send them callbacks and coroutines,
cancel handles and futures, stop loops, close them, and run the garbage collector; signals arrive in
the main thread. Whatever was sent to a loop that ran on must have run, once; a loop that was closed
answers with RuntimeError and nothing else. A round that does not end is killed by faulthandler,
with the stack of every thread.
"""

import argparse
import asyncio
import faulthandler
import gc
import os
import random
import signal
import sys
import threading
import time
from collections import Counter

import meantime

LOOPS = 3
CALLERS = 4
ROUND_S_MAX = 60
# A signal's handler may run in any byte code of the main thread, which runs the first loop.
SIGNAL = signal.SIGUSR1


class WrongError(Exception):
    """Something was lost, or came twice, or was none of the answers that there may be."""


class Round:
    """Some loops, each in a thread, for one short time."""

    def __init__(self, backend, dice, calls):
        self.backend, self.dice, self.calls = backend, dice, calls
        self.loops = [meantime.EventLoop(backend=backend) for _ in range(LOOPS)]
        self.ran = [Counter() for _ in range(LOOPS)]
        self.sent = [Counter() for _ in range(LOOPS)]
        self.wrong = []
        self.signals = 0
        self.over = threading.Event()

    def guarded(self, function):
        def run(*arguments):
            try:
                function(*arguments)
            except BaseException as error:  # noqa: BLE001  reported by the main thread
                self.wrong.append(error)

        return run

    # ---- what threads do

    def call(self, number):
        """Send callbacks to all loops, and cancel some of them at once."""
        dice = random.Random(self.dice.random())
        for call in range(self.calls):
            which = dice.randrange(LOOPS)
            name = (number, call)
            handle = self.loops[which].call_soon_threadsafe(self.note, which, name)
            if dice.random() < 0.1:
                # May come too late, which is fine; but then it ran, once.
                handle.cancel()
            else:
                self.sent[which][name] += 1
            if dice.random() < 0.01:
                time.sleep(0)

    def note(self, which, name):
        self.ran[which][name] += 1

    def ask(self, number):
        """Run coroutines on all loops, and cancel some of them."""
        dice = random.Random(self.dice.random())

        async def answer(value):
            for _ in range(dice.randrange(3)):
                await asyncio.sleep(0)
            return value

        for call in range(self.calls // 10):
            future = asyncio.run_coroutine_threadsafe(answer(call), dice.choice(self.loops))
            if dice.random() < 0.2:
                future.cancel()
            elif future.result(ROUND_S_MAX) != call:
                raise WrongError("a coroutine returned the result of another one")

    def collect(self, _number):
        """Run the collector, which visits and frees what the loops use, from here."""
        while not self.over.is_set():
            gc.collect(self.dice.randrange(3))
            time.sleep(0.0005)

    def interrupt(self, _number):
        while not self.over.is_set():
            os.kill(os.getpid(), SIGNAL)
            time.sleep(0.001)

    def stop_and_run_again(self, _number):
        """Stop loops from outside; each goes on until it is over."""
        dice = random.Random(self.dice.random())
        while not self.over.is_set():
            loop = dice.choice(self.loops)
            loop.call_soon_threadsafe(loop.stop)
            time.sleep(0.0005)

    # ---- what loops do

    def run_loop(self, which):
        loop = self.loops[which]
        asyncio.set_event_loop(None)

        def busy():
            # Timers that are set and dropped, and garbage in circles, while others send.
            for _ in range(5):
                loop.call_later(0.0001, busy_once).cancel()
            circle = [loop.call_soon(busy_once)]
            circle.append(circle)
            if not self.over.is_set():
                loop.call_later(0.0002, busy)

        def busy_once():
            pass

        loop.call_soon(busy)
        while not self.over.is_set():
            loop.run_forever()

    def run(self):
        workers = [self.call] * CALLERS + [self.ask] * 2
        others = [self.collect, self.interrupt, self.stop_and_run_again]
        threads = [
            threading.Thread(target=self.guarded(work), args=(number,), name=work.__name__)
            for number, work in enumerate([*workers, *others])
        ]
        loops = [
            threading.Thread(
                target=self.guarded(self.run_loop), args=(which,), name=f"loop {which}"
            )
            for which in range(1, LOOPS)
        ]
        self.loops[0].add_signal_handler(SIGNAL, self.signalled)
        for thread in [*loops, *threads]:
            thread.start()
        ender = threading.Thread(target=self.end, args=(threads[: len(workers)],))
        ender.start()
        self.guarded(self.run_loop)(0)
        for thread in [*threads, *loops, ender]:
            thread.join()
        self.finish()

    def signalled(self):
        self.signals += 1

    def end(self, workers):
        for thread in workers:
            thread.join()
        self.over.set()
        for loop in self.loops:
            loop.call_soon_threadsafe(loop.stop)

    def finish(self):
        for loop in self.loops:
            # What was still on its way when the loop stopped.
            for _ in range(3):
                loop.stop()
                loop.run_forever()
            loop.close()
        if self.wrong:
            raise self.wrong[0]
        for ran, sent in zip(self.ran, self.sent, strict=True):
            if lost := sent - ran:
                raise WrongError(f"{lost.total()} calls never ran, such as {next(iter(lost))}")
            if twice := [name for name, count in ran.items() if count > 1]:
                raise WrongError(f"{len(twice)} calls ran twice, such as {twice[0]}")
        if not self.signals:
            raise WrongError("no signal arrived")


def race_to_close(backend, dice):
    """Close a loop while threads use it in every way that they may."""
    loop = meantime.EventLoop(backend=backend)
    outcomes, started = [], threading.Barrier(CALLERS + 1)

    async def nothing():
        pass

    def use(number):
        ways = [
            lambda: loop.call_soon_threadsafe(int),
            lambda: loop.call_soon_threadsafe(int).cancel(),
            loop.is_running,
            lambda: loop.call_soon_threadsafe(loop.stop),
            lambda: repr(loop),
        ]
        started.wait()
        while not loop.is_closed():
            try:
                ways[number % len(ways)]()
            except RuntimeError as error:
                outcomes.append(str(error))
            number += 1
        coroutine = nothing()
        try:
            asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError as error:
            outcomes.append(str(error))
        coroutine.close()

    threads = [threading.Thread(target=use, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    started.wait()
    until = time.monotonic() + dice.random() * 0.005
    while time.monotonic() < until:
        loop.run_forever()
    loop.close()
    for thread in threads:
        thread.join()
    if strange := set(outcomes) - {"Event loop is closed"}:
        raise WrongError(f"a closed loop answered {strange}")


def stress(backend, seed, calls=400, races=3):
    """Run one round of everything. Raises WrongError when something went wrong."""
    dice = random.Random(seed)
    before = signal.getsignal(SIGNAL)
    interval = sys.getswitchinterval()
    # Threads take turns so often that each meets the others in the middle of everything.
    sys.setswitchinterval(1e-5)
    try:
        Round(backend, dice, calls).run()
        for _ in range(races):
            race_to_close(backend, dice)
    finally:
        sys.setswitchinterval(interval)
        signal.signal(SIGNAL, before)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30, help="for how long (30)")
    parser.add_argument("--backend", choices=["io_uring", "epoll"], help="only this poller")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the dice")
    arguments = parser.parse_args()
    backends = [arguments.backend] if arguments.backend else ["io_uring", "epoll"]
    until, rounds, seed = time.monotonic() + arguments.seconds, Counter(), arguments.seed
    while time.monotonic() < until:
        for backend in backends:
            faulthandler.dump_traceback_later(ROUND_S_MAX, exit=True)
            try:
                stress(backend, seed)
            except WrongError as wrong:
                sys.exit(f"{backend}, seed {seed}: {wrong}")
            faulthandler.cancel_dump_traceback_later()
            rounds[backend] += 1
        seed += 1
    print(
        f"{dict(rounds)} rounds, each with {LOOPS} loops and {CALLERS + 5} other threads; "
        "nothing was lost"
    )


if __name__ == "__main__":
    main()
