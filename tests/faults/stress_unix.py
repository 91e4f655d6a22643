"""Two processes push bytes through one Unix connection, both ways at once, through tiny buffers.

    python tests/faults/stress_unix.py --rounds 2000 --backend epoll --seed 7

It looks for a wake-up that is lost: a transport whose short send found no room, and that is never
told that there is some again. Each end goes on reading whatever its own sends do, so there is no
way in which both could wait for one another; when no byte has moved at either end for a while,
something was lost. Run several at once to have the processes taken off their processor between
any two steps.
"""

import argparse
import asyncio
import os
import random
import socket
import sys
import time

import meantime

STALLS_AFTER_S = 20
PATTERN = random.Random(0).randbytes(4099) * 40


class End(asyncio.Protocol):
    """Sends so many bytes, checks as many."""

    def __init__(self, size, dice):
        self.size, self.dice = size, dice
        self.sent = self.received = 0
        self.is_paused = False
        self.moved_at = time.monotonic()
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=self.dice.choice([0, 1000, 65_536]))
        self.send()

    def send(self):
        while self.sent < self.size and not self.is_paused:
            count = min(self.dice.choice([1, 700, 5000, 60_000]), self.size - self.sent)
            start = self.sent % 4099
            self.sent += count
            piece = PATTERN[start : start + count]
            if self.dice.random() < 0.3:
                self.transport.writelines([piece[: count // 3], piece[count // 3 :]])
            else:
                self.transport.write(piece)
            if self.dice.random() < 0.2:
                asyncio.get_running_loop().call_later(self.dice.random() * 0.0005, self.send)
                return

    def pause_writing(self):
        self.is_paused = True

    def resume_writing(self):
        self.is_paused = False
        asyncio.get_running_loop().call_soon(self.send)

    def data_received(self, data):
        start = self.received % 4099
        if data != (PATTERN * (1 + len(data) // len(PATTERN)))[start : start + len(data)]:
            self.over.set_exception(ValueError(f"other bytes than were sent at {self.received}"))
        self.received += len(data)
        self.moved_at = time.monotonic()
        if self.dice.random() < 0.1:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(
                self.dice.random() * 0.0005, self.transport.resume_reading
            )
        if self.received == self.size and not self.over.done():
            self.over.set_result(None)

    def connection_lost(self, exc):
        if not self.over.done():
            self.over.set_exception(exc or ConnectionError("the other end went"))


async def one_end(sock, size, dice):
    """Play one end until all has come and gone. Returns what is wrong, or None."""
    loop = asyncio.get_running_loop()
    _, end = await loop.connect_accepted_socket(lambda: End(size, dice), sock)
    while True:
        await asyncio.wait([end.over], timeout=1)
        is_sent = end.sent == end.size and not end.transport.get_write_buffer_size()
        if end.over.done() and (is_sent or end.over.exception()):
            break
        if end.over.done():
            await asyncio.sleep(0.001)
        if time.monotonic() - end.moved_at > STALLS_AFTER_S:
            return (
                f"nothing moves: {end.transport!r}, sent {end.sent} and received {end.received} "
                f"of {end.size}"
            )
    await end.over
    return None


def play(sock, backend, size, seed):
    with asyncio.Runner(loop_factory=lambda: meantime.EventLoop(backend=backend)) as runner:
        wrong = runner.run(round_of(sock, size, random.Random(seed)))
    if wrong:
        print(wrong, file=sys.stderr, flush=True)
    return wrong is None


async def round_of(sock, size, dice):
    wrong = await one_end(sock, size, dice)
    await asyncio.sleep(0)
    return wrong


def one_round(backend, dice):
    """Join two processes by a connection and let them play. Returns whether all came."""
    here, there = socket.socketpair()
    for sock in (here, there):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, dice.choice([1, 4608, 20_000]))
    size, seeds = dice.choice([10_000, 100_000, 300_000]), (dice.random(), dice.random())
    child = os.fork()
    if child == 0:
        here.close()
        # The socket must outlive the loop: a close would throw away what was not read yet.
        os._exit(0 if play(there.dup(), backend, size, seeds[0]) else 1)
    there.close()
    fine = play(here.dup(), backend, size, seeds[1])
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    here.close()
    return fine and status == 0, 2 * size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=500, help="how many connections (500)")
    parser.add_argument("--backend", choices=["io_uring", "epoll"], help="only this poller")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the dice")
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    backends = [arguments.backend] if arguments.backend else ["io_uring", "epoll"]
    started = time.monotonic()
    moved_bytes = 0
    for number in range(arguments.rounds):
        backend = backends[number % len(backends)]
        fine, size = one_round(backend, dice)
        moved_bytes += size
        if not fine:
            sys.exit(f"{backend}, seed {arguments.seed}, round {number}: a wake-up was lost")
    spent_s = time.monotonic() - started
    print(
        f"{arguments.rounds} rounds on {' and '.join(backends)}, {moved_bytes / 2**20:.0f} MiB "
        f"through full buffers in {spent_s:.0f} s: no wake-up was lost"
    )


if __name__ == "__main__":
    main()
