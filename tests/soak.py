"""Keep a loop busy with everything at once for a while, and see that nothing is lost or left.

    python tests/soak.py --seconds 30 --backend epoll --seed 7

Clients of every temper (polite, slow, half-closing, abrupt, resetting, cancelled half-way) talk to
an echo server over TCP, Unix sockets and TLS; others talk to child processes, send datagrams, set
timers and call in from threads. Each checks what it gets back. At the end no descriptor, task,
handle, transport or future may be left, and memory must not grow once it has warmed up. Without
--backend both pollers are tried, for half of the time each.
"""

import argparse
import asyncio
import ctypes
import gc
import os
import random
import signal
import socket
import ssl
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import meantime

CLIENTS = 40
CERTIFICATE = Path(__file__).parent / "loop" / "certificate.pem"
WARM_UP_PART = 0.4
# How often memory is looked at after the warm-up, with all clients gone.
SAMPLES = 8
# What the last samples may be above the first ones. It is the allocator's noise: a leak of one
# small object per connection exceeds it soon, and goes on growing.
GROWTH_BYTES_MAX = 1024 * 1024
LINGER_NOT = struct.pack("ii", 1, 0)
# What may not be left once the loop is closed, by the name of its type.
MUST_GO = {
    "Handle",
    "TimerHandle",
    "StreamTransport",
    "DatagramTransport",
    "TlsTransport",
    "ProcessTransport",
    "ReadPipeTransport",
    "WritePipeTransport",
    "Future",
    "Task",
    "StreamReader",
    "StreamWriter",
}


class WrongError(Exception):
    """Something came back that should not have, or did not come."""


# --- The server -----------------------------------------------------------------------------------


async def echo(reader, writer):
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # an abrupt client
    finally:
        writer.close()


class EchoDatagrams(asyncio.DatagramProtocol):
    """Send each datagram back to where it came from."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


class Answers(asyncio.DatagramProtocol):
    """Hand over what arrives, one datagram after the other."""

    def __init__(self):
        self.arrived = asyncio.Queue()

    def datagram_received(self, data, addr):
        self.arrived.put_nowait(data)


# --- The clients: each does one short thing -------------------------------------------------------


class World:
    """Where the servers are, and the dice."""

    def __init__(self, seed, directory):
        self.dice = random.Random(seed)
        self.path = str(Path(directory) / "echo.sock")
        self.port = self.tls_port = self.datagram_port = 0
        self.server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server_tls.load_cert_chain(CERTIFICATE)
        self.client_tls = ssl.create_default_context(cafile=CERTIFICATE)

    async def connect(self):
        if self.dice.random() < 0.4:
            return await asyncio.open_connection("127.0.0.1", self.port)
        return await asyncio.open_unix_connection(self.path)

    async def connect_in_any_way(self):
        if self.dice.random() < 0.7:
            return await self.connect()
        return await asyncio.open_connection("127.0.0.1", self.tls_port, ssl=self.client_tls)

    def message(self):
        size = self.dice.choice([1, 10, 1000, 70_000, 400_000])
        return self.dice.randbytes(size)


async def polite(world):
    """Send and receive a few messages, then close and wait for the end."""
    reader, writer = await world.connect_in_any_way()
    try:
        for _ in range(world.dice.randrange(1, 6)):
            message = world.message()
            writer.write(message)
            answer, _ = await asyncio.gather(reader.readexactly(len(message)), writer.drain())
            if answer != message:
                raise WrongError(f"{len(message)} bytes came back changed")
        if writer.can_write_eof():  # TLS cannot
            writer.write_eof()
            if await reader.read():
                raise WrongError("bytes came after the last answer")
    finally:
        writer.close()
    await writer.wait_closed()


async def abrupt(world):
    """Send, and vanish without reading."""
    _, writer = await world.connect_in_any_way()
    writer.write(world.message())
    if world.dice.random() < 0.5:
        await asyncio.sleep(0)
    writer.transport.abort()


async def resetting(world):
    """Vanish so that the server gets a reset, while it reads or while it writes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    writer.write(world.message())
    if world.dice.random() < 0.5:
        await reader.read(1)
    writer.transport.abort()


def give_up(writer):
    """Drop the connection. Closing would send the rest first, to a server that waits for us."""
    writer.transport.abort()


async def slow(world):
    """Send more than all buffers hold, and read the answer little by little."""
    reader, writer = await world.connect_in_any_way()
    message = world.dice.randbytes(2_000_000)
    writer.transport.pause_reading()
    writer.write(message)
    await asyncio.sleep(0.002)
    writer.transport.resume_reading()
    answer = bytearray()
    try:
        while len(answer) < len(message):
            piece = await reader.read(world.dice.choice([100, 10_000, 300_000]))
            if not piece:
                raise WrongError("the server went in the middle of an answer")
            answer += piece
            if len(answer) % 7 == 0:
                await asyncio.sleep(0)
        if answer != message:
            raise WrongError("a long answer came back changed")
    except BaseException:
        give_up(writer)
        raise
    writer.close()
    await writer.wait_closed()


async def half_closing(world):
    """Ask, end our direction at once, and read the answer until its end."""
    reader, writer = await world.connect()
    message = world.message()
    writer.write(message)
    writer.write_eof()
    try:
        if await reader.read(-1) != message:
            raise WrongError("an answer after the end of the question came back changed")
    except BaseException:
        give_up(writer)
        raise
    writer.close()
    await writer.wait_closed()


async def cancelled(world):
    """Be cancelled wherever the time happens to run out."""
    try:
        async with asyncio.timeout(world.dice.random() * 0.02):
            await polite(world)
            await asyncio.Event().wait()
    except TimeoutError:
        pass


async def datagrams(world):
    """Send datagrams one after the other; loopback loses none of these."""
    loop = asyncio.get_running_loop()
    address = ("127.0.0.1", world.datagram_port)
    transport, answers = await loop.create_datagram_endpoint(Answers, remote_addr=address)
    try:
        for _ in range(5):
            message = world.dice.randbytes(world.dice.randrange(1, 1400))
            transport.sendto(message)
            if await answers.arrived.get() != message:
                raise WrongError("a datagram came back changed")
    finally:
        transport.close()


async def processes(world):
    """Send something through a child process, or kill it in the middle."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe)
    message = world.message()
    if world.dice.random() < 0.2:
        child.stdin.write(message)
        child.kill()
        child.stdin.close()
        await child.stdout.read()
    else:
        answer, _ = await child.communicate(message)
        if answer != message:
            raise WrongError(f"{len(message)} bytes came back changed from a child")
    status = await child.wait()
    if status not in (0, -signal.SIGKILL):
        raise WrongError(f"a child ended with status {status}")


async def timers(world):
    """Set timers, drop half of them, and see that the others come in order and never early."""
    loop, fired = asyncio.get_running_loop(), []
    started = loop.time()
    delays = [world.dice.random() * 0.05 for _ in range(50)]
    handles = [loop.call_later(delay, fired.append, number) for number, delay in enumerate(delays)]
    for handle in handles[::2]:
        handle.cancel()
    await asyncio.sleep(0.06)
    if fired != sorted(range(1, len(delays), 2), key=lambda number: handles[number].when()):
        raise WrongError("timers came out of order, or not at all")
    if loop.time() - started < 0.06:
        raise WrongError("a sleep ended early")


async def threads(world):
    """Call in from another thread, and run something in the executor."""
    loop, called = asyncio.get_running_loop(), asyncio.Event()
    await asyncio.to_thread(loop.call_soon_threadsafe, called.set)
    await called.wait()


CONNECTING = [polite, polite, slow, half_closing, abrupt, resetting, cancelled]
TEMPERS = [*CONNECTING, processes, datagrams, timers, threads]


# --- The run --------------------------------------------------------------------------------------


async def keep_busy(world, until, done):
    """Play one temper after the other until the time is over."""
    while time.monotonic() < until:
        temper = world.dice.choice(TEMPERS)
        async with asyncio.timeout(20):
            await temper(world)
        done[temper.__name__] += 1


async def soak(world, seconds):
    """Run the servers and all clients. Returns what was done, and samples of memory in use."""
    loop = asyncio.get_running_loop()
    tcp = await asyncio.start_server(echo, "127.0.0.1", 0)
    world.port = tcp.sockets[0].getsockname()[1]
    tls = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=world.server_tls)
    world.tls_port = tls.sockets[0].getsockname()[1]
    unix = await asyncio.start_unix_server(echo, world.path)
    udp, _ = await loop.create_datagram_endpoint(EchoDatagrams, local_addr=("127.0.0.1", 0))
    world.datagram_port = udp.get_extra_info("sockname")[1]

    done, samples_bytes = Counter(), []

    async def for_some_time(seconds):
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(keep_busy(world, until, done))
        await no_other_tasks()
        samples_bytes.append(resident_bytes())

    async with tcp, tls, unix:
        await for_some_time(seconds * WARM_UP_PART)
        for _ in range(SAMPLES):
            await for_some_time(seconds * (1 - WARM_UP_PART) / SAMPLES)
    udp.close()
    await no_other_tasks()
    return done, samples_bytes[1:]


async def no_other_tasks():
    """Wait until the server has done with the last client."""
    for _ in range(500):
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if not left:
            return
        await asyncio.sleep(0.01)
    raise WrongError(f"{len(left)} tasks are left, such as {left[0]!r}")


def growth_bytes(samples_bytes):
    """Return by how much the second half of the samples exceeds the first.

    The least of each half is compared: noise only ever adds to it, and a leak raises both.
    """
    half = len(samples_bytes) // 2
    return min(samples_bytes[half:]) - min(samples_bytes[:half])


def resident_bytes():
    """Return how much memory this process has, without what the allocator keeps for later."""
    gc.collect()
    if give_back := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc has it
        give_back(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  Path would open more descriptors


def objects_that_must_go():
    """Return how many of each type are alive."""
    gc.collect()
    names = (type(thing).__name__ for thing in gc.get_objects())
    return Counter(name for name in names if name in MUST_GO)


def is_asyncios_own(context):
    """Tell whether this is how asyncio's streams report a lost connection that nobody awaited.

    They look at the error when they are freed; the garbage collector may free its future first.
    """
    return isinstance(context.get("exception"), ConnectionError) and (
        context["message"] == "Future exception was never retrieved"
    )


def run(backend, seconds, seed, growth_bytes_max):
    """Soak one poller, and print what happened."""
    fds_before, objects_before, troubles = open_descriptors(), objects_that_must_go(), []
    with tempfile.TemporaryDirectory() as directory:
        loop = meantime.EventLoop(backend=backend)
        loop.set_exception_handler(
            lambda _, context: None if is_asyncios_own(context) else troubles.append(context)
        )
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            done, samples_bytes = runner.run(soak(World(seed, directory), seconds))
        watched = loop._watch_count()
    if troubles:
        raise WrongError(f"the loop reported {len(troubles)} troubles, such as {troubles[0]}")
    if watched:
        raise WrongError(f"{watched} descriptors are still watched")
    if open_descriptors() != fds_before:
        raise WrongError(f"{open_descriptors() - fds_before} descriptors are left")
    if left := objects_that_must_go() - objects_before:
        raise WrongError(f"objects are left: {dict(left)}")
    missing = {temper.__name__ for temper in TEMPERS} - set(done)
    if missing and seconds >= 5:
        raise WrongError(f"nobody was {', '.join(sorted(missing))}")
    grown = growth_bytes(samples_bytes)
    print(summary(backend, done, samples_bytes, grown), flush=True)
    if grown > growth_bytes_max:
        raise WrongError(f"memory grew by {grown / 2**20:.1f} MiB after the warm-up")


def summary(backend, done, samples_bytes, grown):
    connections = sum(done[temper.__name__] for temper in set(CONNECTING))
    counts = ", ".join(f"{count} {name}" for name, count in sorted(done.items()))
    sizes = " ".join(f"{size / 2**20:.1f}" for size in samples_bytes)
    return (
        f"{backend}: {connections} connections cycled ({counts})\n"
        f"{backend}: memory {sizes} MiB, grown by {grown / 2**20:+.1f} MiB; nothing is left"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30, help="for how long in all (30)")
    parser.add_argument("--backend", choices=["io_uring", "epoll"], help="only this poller")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the dice")
    parser.add_argument(
        "--growth-mib",
        type=float,
        default=GROWTH_BYTES_MAX / 2**20,
        help="how much memory may grow (1); a sanitizer keeps what was freed for a while",
    )
    arguments = parser.parse_args()
    backends = [arguments.backend] if arguments.backend else ["io_uring", "epoll"]
    print(f"soaking for {arguments.seconds:g} s, seed {arguments.seed}", flush=True)
    for backend in backends:
        try:
            run(
                backend,
                arguments.seconds / len(backends),
                arguments.seed,
                int(arguments.growth_mib * 2**20),
            )
        except WrongError as wrong:
            sys.exit(f"{backend}, seed {arguments.seed}: {wrong}")


if __name__ == "__main__":
    main()
