"""Does anything grow when the core does the same thing again and again?

    python tests/core/leaks.py --repeats 2000

Each scenario makes something in the core, uses it and lets it go. Counted before and after many
rounds: the interpreter's memory blocks (a reference that was not given back keeps its object), the
bytes that C code took from malloc, descriptors, and what the core counts itself in a build that
does. A leak grows by at least one with each round; noise does not grow with the rounds.
"""

import argparse
import asyncio
import contextlib
import ctypes
import gc
import os
import socket
import sys

import meantime
from meantime._core import counters
from meantime._core.transport import StreamTransport

REPEATS = 300
# Python's own caches fill up slowly: on its own loop, too, some blocks come with each of the first
# thousand rounds, and then no more.
ATTEMPTS = 8
# A leak is at least one block, or this many bytes, in every round; half of that is let pass.
BLOCKS_PER_ROUND_MAX = 0.5
BYTES_PER_ROUND_MAX = 8


class MallocInfo(ctypes.Structure):
    """What glibc's mallinfo2(3) returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def malloc_bytes():
    """Return how many bytes malloc has given out; 0 where it does not say."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None or "asan" in os.environ.get("LD_PRELOAD", ""):
        return 0
    ask.restype = MallocInfo
    found = ask()
    return found.uordblks + found.hblkhd


def measure():
    """Return what may not grow, by name."""
    for _ in range(3):
        gc.collect()
    return {
        "blocks": sys.getallocatedblocks(),
        "bytes of malloc": malloc_bytes(),
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208  Path would open more
        **(counters.read() or {}),
    }


# --- The scenarios: each does one thing, on a loop that stays -------------------------------------


def turn(loop, count=1):
    for _ in range(count):
        loop.stop()
        loop.run_forever()


def callbacks(loop):
    loop.call_soon(int)
    loop.call_soon(max, 1, 2, 3, 4, 5)
    loop.call_soon_threadsafe(int).cancel()
    turn(loop)


def failing_callbacks(loop):
    loop.set_exception_handler(lambda _loop, _situation: None)
    loop.call_soon(int, "no number")
    with contextlib.suppress(TypeError):
        loop.call_soon("no function")
    turn(loop)


def timers(loop):
    loop.call_later(0, int)
    # The heap is rebuilt without what was cancelled, now and then: not with each round.
    for delay_s in (0, 1, 3600):
        loop.call_at(loop.time() + delay_s, int).cancel()
    turn(loop)


def tasks(loop):
    async def main():
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(loop.create_future(), 0)

    loop.run_until_complete(main())


def readers(loop):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop.add_reader(ours, ours.recv, 10)
    loop.add_writer(ours, int)
    theirs.send(b"x")
    turn(loop, 2)
    loop._wait_readable(ours.fileno()).cancel()
    turn(loop)
    loop.remove_reader(ours)
    loop.remove_writer(ours)
    ours.close()
    theirs.close()


def bare_sockets(loop):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)

    async def talk():
        receiving = asyncio.ensure_future(loop.sock_recv(ours, 10))
        cancelled = asyncio.ensure_future(loop.sock_recv_into(ours, bytearray(3)))
        await asyncio.sleep(0)
        cancelled.cancel()
        await loop.sock_sendall(theirs, bytearray(5))
        await receiving
        with socket.socket() as unconnected, contextlib.suppress(OSError):
            unconnected.setblocking(False)
            await loop.sock_recvfrom(unconnected, 10)

    loop.run_until_complete(talk())
    ours.close()
    theirs.close()


def streams(loop):
    async def answer(reader, writer):
        writer.write(await reader.read(100_000))
        writer.close()

    async def talk():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.writelines([b"one", bytearray(20_000), memoryview(b"two")])
        writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    loop.run_until_complete(talk())
    turn(loop, 2)


def failing_transports(loop):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    for arguments in ((loop, ours), (None, ours, None), (loop, None, None), (loop, ours, 1, 2, 3)):
        with contextlib.suppress(Exception):
            StreamTransport(*arguments)
    ours.close()
    theirs.close()
    turn(loop, 2)


def aborted_streams(loop):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    transport = StreamTransport(loop, ours, asyncio.Protocol())
    turn(loop)
    transport.write(bytes(2_000_000))
    transport.get_extra_info("socket")
    transport.abort()
    turn(loop, 2)
    theirs.close()


def datagrams(loop):
    async def talk():
        make = loop.create_datagram_endpoint
        one, _ = await make(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        other, _ = await make(asyncio.DatagramProtocol, remote_addr=one.get_extra_info("sockname"))
        other.sendto(b"hello")
        other.sendto(bytearray(30))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        one.close()
        other.abort()

    loop.run_until_complete(talk())
    turn(loop, 2)


def loops(loop):
    backend = "epoll" if "epoll" in loop._backend else "io_uring"
    made = meantime.EventLoop(backend=backend)
    made.call_later(5, int)
    turn(made)
    made.close()


def objects_that_were_not_set_up(loop):
    for cls in type(loop).__mro__:
        if cls.__module__.startswith("meantime"):
            cls.__new__(cls)
    with contextlib.suppress(RuntimeError):
        type(loop).__new__(type(loop)).call_soon(int)


SCENARIOS = [
    callbacks,
    failing_callbacks,
    timers,
    tasks,
    readers,
    bare_sockets,
    streams,
    failing_transports,
    aborted_streams,
    datagrams,
    loops,
    objects_that_were_not_set_up,
]


def growth(backend, scenario, repeats=REPEATS):
    """Return what grows with each round, and by how much."""
    loop = meantime.EventLoop(backend=backend)
    try:
        # Caches, freelists and tables fill up first.
        for _ in range(repeats):
            scenario(loop)
        # What has grown for another reason, such as a table that doubled just now, stops growing.
        for _ in range(ATTEMPTS):
            grown = rounds_of(scenario, loop, repeats)
            if not grown:
                break
        return grown
    finally:
        loop.close()


def rounds_of(scenario, loop, repeats):
    before = measure()
    for _ in range(repeats):
        scenario(loop)
    after = measure()
    allowed = {"blocks": BLOCKS_PER_ROUND_MAX, "bytes of malloc": BYTES_PER_ROUND_MAX}
    return {
        name: f"{(after[name] - before[name]) / repeats:+.2f} a round"
        for name in before
        if after[name] - before[name] > allowed.get(name, 0) * repeats
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1000, help="of each scenario (1000)")
    parser.add_argument("--backend", choices=["io_uring", "epoll"], help="only this poller")
    arguments = parser.parse_args()
    backends = [arguments.backend] if arguments.backend else ["io_uring", "epoll"]
    leaks = 0
    for backend in backends:
        for scenario in SCENARIOS:
            grown = growth(backend, scenario, arguments.repeats)
            leaks += bool(grown)
            print(f"{backend} {scenario.__name__}: {grown or 'nothing grows'}", flush=True)
    sys.exit(1 if leaks else 0)


if __name__ == "__main__":
    main()
