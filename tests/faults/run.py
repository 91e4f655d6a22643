"""Keep a loop busy among faults for a while, and see that it survives them all.

    python tests/faults/run.py --seconds 30 --backend epoll --seed 7

Connections over TCP and Unix sockets send position-coded bytes both ways and check every one that
comes; datagrams, bare sockets, timers and threads do their part. Meanwhile the system calls of the
core fail by the plan below, or by the one in MEANTIME_FAULTS. At the end:

- no connection hung, and none was lost without having been told so, once;
- of a connection that both ends lost without an error, every byte arrived;
- errors that only the plan can have caused were told as often as they were injected;
- the poller is the one that was asked for, and no descriptor is left.
"""

import argparse
import asyncio
import errno
import os
import random
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import meantime
from tests.faults.injector import Faults

STREAM = (
    "{0}:EINTR=2% {0}:EAGAIN=4% {0}:SHORT=10% {0}:ENOMEM=0.03% {0}:ENOBUFS=0.03% {0}:{1}=0.03% "
)
PLAN = (
    STREAM.format("recv", "ECONNRESET")
    + STREAM.format("recvmsg", "ECONNRESET")
    + STREAM.format("send", "EPIPE")
    + STREAM.format("sendmsg", "ECONNRESET")
    + "recvfrom:EINTR=3% recvfrom:EAGAIN=3% sendto:EINTR=3% sendto:EAGAIN=5% sendto:ENOBUFS=1% "
    + "accept4:EINTR=5% accept4:ECONNABORTED=5% accept4:EMFILE=0.1% accept4:ENFILE=0.1% "
    + "accept4:ENOBUFS=0.1% accept4:ENOMEM=0.1% connect:EINTR=5% connect:ENOBUFS=0.5% "
    + "epoll_wait:EINTR=3% epoll_wait:SHORT=10% epoll_wait:SPURIOUS=10% "
    + "epoll_ctl:ENOMEM=0.1% epoll_ctl:ENOSPC=0.1% "
    + "io_uring_enter:EINTR=2% io_uring_enter:EAGAIN=2% io_uring_enter:EBUSY=2% "
    + "io_uring_enter:SHORT=10% io_uring_enter:EBADR=0.2%"
)
# Nothing but the plan causes these here, so each must be told exactly as often as it was injected.
OURS_ALONE = ("ENOMEM", "ENOBUFS", "EMFILE", "ENFILE", "ENOSPC")
CLIENTS = 30
HANGS_AFTER_S = 30
HEAD = struct.Struct("!QQ")
PATTERN = random.Random(0).randbytes(65_521) * 2
PERIOD = 65_521


class WrongError(Exception):
    """The loop broke a promise."""


def stream_bytes(start, size):
    """Return what stands in every stream from `start` on: each byte says where it belongs."""
    at = start % PERIOD
    whole = PATTERN[at : at + min(size, PERIOD)]
    return whole if len(whole) == size else (whole * (size // PERIOD + 1))[:size]


class World:
    """Where the servers are, the dice, and what was told."""

    def __init__(self, seed, directory):
        self.dice = random.Random(seed)
        self.path = str(Path(directory) / "server.sock")
        self.port = self.udp_port = 0
        self.told, self.done = Counter(), Counter()
        self.servers, self.open, self.count, self.bytes_checked = {}, set(), 0, 0
        self.wrong = []

    def note(self, error):
        """Count an error that a part of the program was told of."""
        self.told[errno.errorcode.get(getattr(error, "errno", None), repr(error))] += 1

    def handle(self, loop, context):
        error = context.get("exception")
        if isinstance(error, OSError):
            self.note(error)
        else:
            self.wrong.append(f"{context['message']}: {error!r}")


class Side(asyncio.Protocol):
    """One end of a connection: sends its stream, checks the other one."""

    def __init__(self, world, number=None):
        self.world, self.dice, self.number = world, world.dice, number
        self.size = self.dice.choice([0, 1, 1000, 70_000, 300_000])
        self.sent = self.received = 0
        self.head, self.expected = b"", None
        self.is_paused = self.got_eof = self.aborted = False
        self.lost = []
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.world.open.add(self)
        if self.number is not None:
            self.begin()

    def begin(self):
        self.transport.write(HEAD.pack(self.number, self.size))
        self.send_more()

    def send_more(self):
        """Send in pieces of any size and in any way, until told to pause."""
        while self.sent < self.size and not self.is_paused and not self.transport.is_closing():
            size = min(self.dice.choice([1, 500, 20_000, 100_000]), self.size - self.sent)
            piece = stream_bytes(self.sent, size)
            self.sent += size
            way = self.dice.randrange(3)
            if way == 0:
                self.transport.write(piece)
            elif way == 1:
                self.transport.write(memoryview(bytearray(piece)))
            else:
                self.transport.writelines([piece[: size // 2], piece[size // 2 :]])
        if self.sent == self.size and not self.transport.is_closing():
            self.transport.write_eof()

    def pause_writing(self):
        self.is_paused = True

    def resume_writing(self):
        self.is_paused = False
        if self.sent < self.size:
            asyncio.get_running_loop().call_soon(self.send_more)

    def data_received(self, data):
        if self.expected is None:
            self.head += data
            if len(self.head) < HEAD.size:
                return
            number, self.expected = HEAD.unpack_from(self.head)
            data = self.head[HEAD.size :]
            if self.number is None:
                self.number = number
                self.world.servers[number] = self
                self.begin()
        if data != stream_bytes(self.received, len(data)):
            self.world.wrong.append(f"{self!r} got other bytes than were sent")
        self.received += len(data)
        self.world.bytes_checked += len(data)
        if self.dice.random() < 0.05 and not self.transport.is_closing():
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(0.001, self.transport.resume_reading)

    def eof_received(self):
        self.got_eof = True
        # Closes when what is still to be sent has gone. Who heard no head has nobody to send to.
        return self.number is not None and self.sent < self.size

    def connection_lost(self, exc):
        self.lost.append(exc)
        self.world.open.discard(self)
        if exc is not None:
            self.world.note(exc)
        if not self.gone.done():
            self.gone.set_result(None)

    def __repr__(self):
        return (
            f"<{self.transport!r} number={self.number} sent {self.sent} of {self.size}, "
            f"received {self.received} of {self.expected}, lost={self.lost}>"
        )


class Ending(Side):
    """The same, but once both streams have ended it closes."""

    def send_more(self):
        super().send_more()
        if self.got_eof and self.sent == self.size:
            self.transport.close()


# --- What is done all the time --------------------------------------------------------------------


async def connection(world):
    """Open a connection, let both streams run to their end, and compare both ends."""
    loop = asyncio.get_running_loop()
    world.count += 1
    number, is_tcp = world.count, world.dice.random() < 0.5

    def factory():
        return Ending(world, number)

    try:
        if is_tcp:
            _, client = await loop.create_connection(factory, "127.0.0.1", world.port)
        else:
            _, client = await loop.create_unix_connection(factory, world.path)
    except OSError as error:
        world.note(error)
        return
    if world.dice.random() < 0.1:
        await asyncio.sleep(world.dice.random() * 0.01)
        client.aborted = True
        client.transport.abort()
    await client.gone
    server = world.servers.get(number)
    if server is not None:
        await server.gone
        del world.servers[number]
    compare(world, client, server)


def compare(world, client, server):
    ends = [client] if server is None else [client, server]
    if any(len(end.lost) != 1 for end in ends):
        world.wrong.append(f"connection_lost not once: {ends}")
    if client.aborted or any(error is not None for end in ends for error in end.lost):
        return
    # A server that failed before it had read the head is not known by its number; its error was
    # counted. Then the client sees a stream without a head.
    if server is None:
        if client.expected is not None:
            world.wrong.append(f"nobody answered, and yet it got a head: {client!r}")
        return
    world.done["whole connections"] += 1
    if any(end.received != end.expected or end.sent != end.size for end in ends):
        world.wrong.append(f"bytes are missing: {ends}")


class Echo(asyncio.DatagramProtocol):
    """Sends datagrams back, or keeps them, and counts the errors."""

    def __init__(self, world, keep=None):
        self.world, self.keep = world, keep

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        if self.keep is None:
            self.transport.sendto(data, addr)
        elif not self.keep.done():
            self.keep.set_result(data)

    def error_received(self, exc):
        self.world.note(exc)


async def datagrams(world):
    """Ask until the answer comes; a datagram may be dropped, but not changed."""
    loop = asyncio.get_running_loop()
    question = world.dice.randbytes(world.dice.randrange(1, 1400))
    protocol = Echo(world, loop.create_future())
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: protocol, remote_addr=("127.0.0.1", world.udp_port)
        )
    except OSError as error:
        world.note(error)
        return
    try:
        while not protocol.keep.done():
            transport.sendto(question)
            await asyncio.wait([protocol.keep], timeout=0.1)
    finally:
        transport.close()
    if protocol.keep.result() != question:
        world.wrong.append("a datagram came back changed")


async def bare_sockets(world):
    """sock_sendall at one end, sock_recv at the other."""
    loop = asyncio.get_running_loop()
    size = world.dice.choice([1, 5000, 300_000])

    async def receive():
        received = 0
        while received < size:
            data = await loop.sock_recv(there, 50_000)
            if data != stream_bytes(received, len(data)) or not data:
                world.wrong.append("sock_recv gave other bytes than were sent")
                return
            received += len(data)
            world.bytes_checked += len(data)

    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        both = [asyncio.ensure_future(receive())]
        both.append(asyncio.ensure_future(loop.sock_sendall(here, stream_bytes(0, size))))
        await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
        for task in both:
            if task.done() and task.exception() is not None:
                world.note(task.exception())
            task.cancel()
        await asyncio.wait(both)


async def timers(world):
    loop = asyncio.get_running_loop()
    when = loop.time() + world.dice.random() * 0.02
    ringing = loop.create_future()
    loop.call_at(when, lambda: ringing.set_result(loop.time()))
    if await ringing < when:
        world.wrong.append("a timer was early")


async def threads(world):
    loop, called = asyncio.get_running_loop(), asyncio.Event()
    await asyncio.to_thread(loop.call_soon_threadsafe, called.set)
    await called.wait()


DEEDS = [connection] * 6 + [datagrams, bare_sockets, timers, threads]


async def keep_busy(world, until):
    while time.monotonic() < until and not world.wrong:
        deed = world.dice.choice(DEEDS)
        async with asyncio.timeout(HANGS_AFTER_S):
            await deed(world)
        world.done[deed.__name__] += 1


async def play(world, seconds):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(world.handle)
    tcp = await loop.create_server(lambda: Ending(world), "127.0.0.1", 0)
    unix = await loop.create_unix_server(lambda: Ending(world), world.path)
    udp, _ = await loop.create_datagram_endpoint(lambda: Echo(world), local_addr=("127.0.0.1", 0))
    world.port = tcp.sockets[0].getsockname()[1]
    world.udp_port = udp.get_extra_info("sockname")[1]
    until = time.monotonic() + seconds
    async with tcp, unix, asyncio.TaskGroup() as group:
        with Faults("_socket") as faults:
            faults.seed(world.dice.randrange(2**32))
            faults.plan_text(os.environ.get("MEANTIME_FAULTS", PLAN))
            tasks = [group.create_task(keep_busy(world, until)) for _ in range(CLIENTS)]
            await asyncio.wait(tasks)
            # Those whose client went early have still to learn of it.
            await world_is_quiet(world)
            udp.close()
            await asyncio.sleep(0.01)
            return faults.counts()


async def world_is_quiet(world):
    try:
        async with asyncio.timeout(HANGS_AFTER_S):
            while world.open:
                await asyncio.sleep(0.01)
    except TimeoutError:
        world.wrong.append(f"they never learnt that their peer had gone: {world.open}")
        for side in world.open:
            side.transport.abort()


# --- The run --------------------------------------------------------------------------------------


def run(backend, seconds, seed):
    """Play on one poller, and print what happened."""
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  Path would open more
    with tempfile.TemporaryDirectory() as directory:
        world = World(seed, directory)
        loop = meantime.EventLoop(backend=backend)
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            counts = runner.run(play(world, seconds))
    injected = Counter()
    for name, count in counts.items():
        injected[name.partition(":")[2]] += count
    print(summary(backend, world, counts), flush=True)
    if world.wrong:
        raise WrongError(f"{len(world.wrong)} promises broken, such as: {world.wrong[0]}")
    for name in OURS_ALONE:
        if world.told[name] != injected[name]:
            raise WrongError(
                f"{name} was injected {injected[name]} times and told {world.told[name]} times"
            )
    if loop._backend != backend:
        raise WrongError(f"it went on with {loop._backend}")
    left = len(os.listdir("/proc/self/fd")) - descriptors  # noqa: PTH208
    if left:
        raise WrongError(f"{left} descriptors are left")
    if seconds >= 5 and not (world.done["whole connections"] and sum(counts.values())):
        raise WrongError("nothing happened")


def summary(backend, world, counts):
    faults = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    done = ", ".join(f"{count} {name}" for name, count in sorted(world.done.items()))
    told = ", ".join(f"{count} {name}" for name, count in sorted(world.told.items()))
    return (
        f"{backend}: {sum(counts.values())} faults injected ({faults})\n"
        f"{backend}: survived; {done}; {world.bytes_checked / 2**20:.0f} MiB checked\n"
        f"{backend}: errors told: {told or 'none'}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30, help="for how long in all (30)")
    parser.add_argument("--backend", choices=["io_uring", "epoll"], help="only this poller")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the dice")
    arguments = parser.parse_args()
    backends = [arguments.backend] if arguments.backend else ["io_uring", "epoll"]
    print(f"among faults for {arguments.seconds:g} s, seed {arguments.seed}", flush=True)
    for backend in backends:
        try:
            run(backend, arguments.seconds / len(backends), arguments.seed)
        except WrongError as wrong:
            sys.exit(f"{backend}, seed {arguments.seed}: {wrong}")


if __name__ == "__main__":
    main()
