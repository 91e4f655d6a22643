"""Runs one fuzzed program: a fresh loop, sockets, and steps that do anything to the core.

Whatever Python raises is a fine outcome of a step. A crash or a hang is not.
"""

import asyncio
import contextlib
import copy
import ctypes
import functools
import gc
import os
import pickle
import signal
import socket
import sys
import tempfile
import weakref
from pathlib import Path

import meantime
from meantime._core.poller.epoll import EpollPoller
from meantime._core.poller.scripted import ScriptedPoller
from meantime._core.poller.uring import UringPoller
from meantime._core.sockets import CoreLoop
from tests.fuzz import discovery
from tests.fuzz.values import Maker

POOL_MAX = 40
MISCHIEF_MAX = 60
DEPTH_MAX = 3
PROGRAM_S_MAX = 0.25
# These run until something stops the loop.
RUNNING = {"_run", "run_forever", "run_until_complete"}
# What a program shares among its tasks, and what it waits by.
PRIMITIVES = {
    "queue": meantime.Queue,
    "lock": meantime.Lock,
    "event": meantime.Event,
    "condition": meantime.Condition,
    "semaphore": functools.partial(meantime.Semaphore, 2),
    "barrier": functools.partial(meantime.Barrier, 2),
    "group": meantime.TaskGroup,
    "timeout": functools.partial(meantime.timeout, 0.001),
    "sleep": functools.partial(meantime.sleep, 0.001),
    "buffer": functools.partial(meantime.StreamReader, 100),
}
POLLERS = {"io_uring": UringPoller, "epoll": EpollPoller}


class TooLongError(BaseException):
    """A program waits for what will not come; that is no hang, for a signal ends it."""


def too_long(_signal, _frame):
    raise TooLongError


class ReportingLoop(CoreLoop):
    """The compiled core alone, with the one method that the face must have."""

    def call_exception_handler(self, context):
        repr(context)


class World:
    """What one program acts upon."""

    def __init__(self, backend, mischief, scratch_file):
        self.backend = backend
        self.scratch_file = scratch_file
        self.maker = Maker(self)
        self.left = list(mischief)
        self.budget = MISCHIEF_MAX
        self.depth = 0
        self.pool = []
        self.sockets = {}
        self.raw_fds = []
        self.loops = {}
        self.called = set()
        self.returned = 0

    # ---- what programs name

    def pick(self, number):
        return self.pool[number % len(self.pool)] if self.pool else None

    def keep(self, thing):
        if thing is None or isinstance(thing, (bool, int, float, str, bytes)):
            return
        if len(self.pool) >= POOL_MAX:
            self.pool.pop(0)
        self.pool.append(thing)

    def loop_named(self, name):
        if name not in self.loops:
            if name == "core":
                self.loops[name] = meantime.EventLoop(backend=self.backend)
            elif name == "loop":
                self.loops[name] = ReportingLoop(POLLERS[self.backend]())
            else:
                self.loops[name] = ReportingLoop.__new__(ReportingLoop)
        return self.loops[name]

    def socket_named(self, name):
        if name not in self.sockets:
            self.open_sockets(name)
        return self.sockets[name]

    def open_sockets(self, name):
        if name == "udp":
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind(("127.0.0.1", 0))
        elif name == "listening":
            made = socket.create_server(("127.0.0.1", 0))
        elif name == "connected":
            made = socket.create_connection(self.socket_named("listening").getsockname())
        else:
            made, other = socket.socketpair()
            if name == "closed":
                made.close()
                other.close()
            else:
                self.sockets["theirs" if name == "ours" else "ours"] = other
                other.setblocking(False)
        if name != "closed":
            made.setblocking(False)
        self.sockets[name] = made

    def fd_named(self, name):
        """Return a number to be taken for a descriptor; never one that the fuzzer itself needs."""
        if name == "event":
            fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self.raw_fds.append(fd)
            return fd
        numbers = {
            "closed": -1,
            "negative": -7,
            "beyond": (1 << 31) - 1,
            "free": 5_000,
            "file": self.scratch_file.fileno(),
        }
        return numbers[name] if name in numbers else self.socket_named(name).fileno()

    # ---- misbehaviour in the middle of a call

    def mischief(self):
        """Run another step of the program, from within whatever runs now."""
        if not self.left or self.budget <= 0 or self.depth >= DEPTH_MAX:
            return
        self.budget -= 1
        step = self.left[0]
        self.left.append(self.left.pop(0))
        self.depth += 1
        try:
            self.step(step)
        finally:
            self.depth -= 1

    def collect(self):
        if self.budget > 0:
            self.budget -= 10
            gc.collect()

    # ---- steps

    def step(self, step):
        """Run one step. Only what ends the whole program leaves."""
        kind, *rest = step
        try:
            self.keep(getattr(self, f"do_{kind}")(*rest))
            self.returned += 1
        except TooLongError:
            raise
        except BaseException:  # noqa: BLE001  any exception is a fine outcome
            pass

    def do_make(self, name, way, arguments):
        cls = discovery.classes()[name]
        positions, named = self.maker.many(arguments)
        if way.startswith("sub"):
            cls = type("Sub", (cls,), {"__del__": lambda _me: self.mischief()})
        return cls.__new__(cls) if way.endswith("new") else cls(*positions, **named)

    def do_good(self, name):
        """Make something that works, by the ways that programs use."""
        loop = self.loop_named("core")
        if name == "handle":
            return loop.call_soon(self.maker.make_callable("mischief"))
        if name == "timer":
            return loop.call_later(0.0005, self.maker.make_callable("mischief"))
        if name == "stream":
            return self.connection(["protocol", "mischief", False])
        if name == "filling":
            return self.connection(["protocol", "mischief", True])
        if name == "datagrams":
            cls = discovery.classes()["datagram.DatagramTransport"]
            protocol = self.maker.make(["protocol", "mischief", False])
            return cls(loop, self.socket_named("udp").dup(), protocol)
        if name == "listener":
            cls = discovery.classes()["listener.Listener"]
            factory = self.maker.make_callable("protocol")
            listener = cls(loop, self.socket_named("listening"), factory, 5)
            listener.start()
            self.socket_named("connected")
            return listener
        if name == "scripted":
            return ReportingLoop(ScriptedPoller())
        if name == "poller":
            return POLLERS[self.backend]()
        if name == "ring":
            return loop._poller if self.backend == "epoll" else type(self).ring()
        if name in PRIMITIVES:
            return PRIMITIVES[name]()
        if name == "reader":
            loop.add_reader(self.socket_named("ours"), self.maker.make_callable("mischief"))
            return loop._wait_writable(self.socket_named("ours").fileno())
        return loop.sock_recv(self.socket_named("ours"), 100)

    @staticmethod
    def ring():
        return discovery.classes()["poller.ring.Ring"](8, 16)

    def connection(self, protocol):
        cls = discovery.classes()["transport.StreamTransport"]
        sock = self.socket_named("ours").dup()
        sock.setblocking(False)
        return cls(self.loop_named("core"), sock, self.maker.make(protocol))

    def do_face(self, name):
        """Let the face make something whose compiled parts the collector then finds."""
        loop = self.loop_named("core")

        async def open_file():
            self.keep(await meantime.open_file("opened", "w+b"))

        async def start():
            path = tempfile.mktemp(dir=Path.cwd())
            server = await loop.create_unix_server(asyncio.Protocol, path)
            self.keep(server)
            made = await loop.create_unix_connection(asyncio.Protocol, path)
            self.keep(made[0])
            if name == "pipe":
                ends = os.pipe()
                pipe = open(ends[0], "rb", buffering=0)  # noqa: SIM115, PTH123
                self.raw_fds.append(ends[1])
                self.keep((await loop.connect_read_pipe(asyncio.Protocol, pipe))[0])

        before = set(map(id, gc.get_objects())) if name == "harvest" else None
        asyncio.set_event_loop(None)
        chosen = open_file() if name == "file" else start()
        loop.run_until_complete(asyncio.wait_for(chosen, 0.2))
        if before is not None:
            compiled = tuple(discovery.classes().values())
            for thing in gc.get_objects():
                if issubclass(type(thing), compiled) and id(thing) not in before:
                    self.keep(thing)

    def do_call(self, number, method, arguments):
        target = self.pick(number)
        names = discovery.methods_of(type(target))
        if names:
            return self.call(target, names[method % len(names)], arguments)
        return self.drive(target, method)

    def do_named(self, cls_name, way, name, arguments):
        """Call one method of one class, on an object that is or is not set up."""
        cls = discovery.classes()[cls_name]
        target = next((thing for thing in self.pool if isinstance_(thing, cls)), None)
        if way == "new" or (target is None and way != "unbound"):
            try:
                target = cls.__new__(cls)
            except TypeError:  # only compiled code makes such objects
                way = "unbound"
        if way == "unbound":
            positions, named = self.maker.many(arguments)
            self.called.add((cls_name, name))
            return getattr(cls, name)(*positions, **named)
        return self.call(target, name, arguments)

    def do_function(self, name, arguments):
        """Call a function of a module."""
        self.called.add(("", name))
        positions, named = self.maker.many(arguments)
        return discovery.functions()[name](*positions, **named)

    def call(self, target, name, arguments):
        positions, named = self.maker.many(arguments)
        for cls_name, cls in discovery.classes().items():
            if isinstance_(target, cls) and name in vars(cls):
                self.called.add((cls_name, name))
        if name in RUNNING:
            target.call_later(0.001, target.stop)
        attribute = getattr(target, name)
        return attribute(*positions, **named) if callable(attribute) else attribute

    def do_await(self, number):
        """Await something that an earlier step has made, in a task of its own."""

        async def waiting(target):
            return await target

        return self.loop_named("core").create_task(waiting(self.pick(number)))

    def do_set(self, number, attribute, value):
        target = self.pick(number)
        names = discovery.attributes_of(type(target)) or ["x"]
        setattr(
            target,
            [*names, "x", "__class__", "__dict__"][attribute % (len(names) + 3)],
            self.maker.make(value),
        )

    def do_delete(self, number, attribute):
        target = self.pick(number)
        names = discovery.attributes_of(type(target))
        delattr(target, [*names, "x", "__class__", "__dict__"][attribute % (len(names) + 3)])

    def do_read(self, number):
        target = self.pick(number)
        for name in [*discovery.attributes_of(type(target)), "__dict__", "__class__"]:
            try:
                self.keep(getattr(target, name))
            except Exception:  # noqa: BLE001
                continue

    def do_init(self, number, arguments):
        positions, named = self.maker.many(arguments)
        target = self.pick(number)
        # A pending task of asyncio's that is set up again where there is no current event loop has
        # none afterwards, and crashes by itself when it goes.
        if not isinstance_(target, asyncio.Future):
            target.__init__(*positions, **named)

    def do_copy(self, number, way):
        target = self.pick(number)
        if way == "pickle":
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                with contextlib.suppress(Exception):
                    self.keep(pickle.loads(pickle.dumps(target, protocol)))
            return None
        if way == "state":
            return target.__setstate__((self.pick(number + 1),) * 12)
        return {"copy": copy.copy, "deepcopy": copy.deepcopy}[way](target)

    def do_weakref(self, number):
        return weakref.ref(self.pick(number), lambda _gone: self.mischief())

    def do_drop(self, number):
        if self.pool:
            del self.pool[number % len(self.pool)]

    @staticmethod
    def do_crash():
        """Crash on purpose, so that the fuzzer's own test knows that it would tell."""
        ctypes.string_at(0)

    def do_collect(self):
        self.collect()

    def do_look(self, number):
        target = self.pick(number)
        for look in (repr, hash, str, bool, list, dir, len, target.__eq__, target.__lt__):
            try:
                look(target)
            except Exception:  # noqa: BLE001
                continue

    def do_turn(self, name, count):
        loop = self.loop_named(name)
        for _ in range(count):
            loop.stop()
            loop._run() if name == "loop" else loop.run_forever()

    def do_send(self, name, size):
        self.socket_named(name).send(b"s" * size)

    def do_end(self, name):
        self.socket_named(name).close()

    def do_close(self, name):
        loop = self.loop_named(name)
        loop._close_core() if name == "loop" else loop.close()

    def do_drive(self, number, way):
        return self.drive(self.pick(number), way)

    def drive(self, target, way):
        """Act on a coroutine, an iterator or a future."""
        if way % 4 == 0:
            return target.throw(ValueError("a fuzzed throw"))
        if way % 4 == 1:
            return without_arguments(target.close)
        if way % 4 == 2 and hasattr(target, "cancel"):
            return without_arguments(target.cancel)
        return target.send(None)

    # ---- the end

    def end(self):
        """Close all that is left, and undo what the program did to the interpreter."""
        self.budget = 0
        asyncio._set_running_loop(None)
        for loop in list(self.loops.values()):
            with contextlib.suppress(BaseException):
                loop.close() if isinstance(loop, meantime.EventLoop) else loop._close_core()
        self.pool.clear()
        self.loops.clear()
        for sock in self.sockets.values():
            with contextlib.suppress(OSError):
                sock.close()
        for fd in self.raw_fds:
            with contextlib.suppress(OSError):
                os.close(fd)
        self.sockets.clear()
        with contextlib.suppress(ValueError):
            signal.set_wakeup_fd(-1)
        sys.set_asyncgen_hooks(None, None)
        sys.set_coroutine_origin_tracking_depth(0)


def without_arguments(method):
    """Call it in a way that the interpreter does not specialize.

    Where `thing.close()` has met instances of a compiled class often enough, and then the class,
    CPython up to 3.13 crashes by itself: as `def f(x): x.sort()` does, given lists and then `list`.
    """
    nothing = ()
    return method(*nothing)


def isinstance_(thing, cls):
    """Tell by the type alone; the core's objects say that they are of asyncio's classes."""
    return issubclass(type(thing), cls)


def stop_alarm():
    """Have no more alarms. On the way there they may go off, in the middle of anything."""
    while True:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            return
        except TooLongError:
            continue


def run(program, scratch_file):
    """Run a program. Returns which names were called, and how many steps raised nothing."""
    backend, steps, mischief = program
    world = World(backend, mischief, scratch_file)
    try:
        signal.signal(signal.SIGALRM, too_long)
        signal.setitimer(signal.ITIMER_REAL, PROGRAM_S_MAX, 0.05)
        for step in steps:
            world.step(step)
    except TooLongError:
        pass
    finally:
        stop_alarm()
        world.end()
    return world.called, world.returned
