"""What is given to the core: a value is described by a list that JSON can hold, and made of it.

A description, not the value, goes into the record of a program, so that a program that crashed can
be run again in another process.
"""

import array
import asyncio
import contextvars
import functools
import mmap

from hypothesis import strategies as st

EDGES = [0, 1, -1, 2, 7, 64, 255, 65_535, 65_536, 262_144, -2, 10**6]
EDGES += [
    sign * (1 << bits) + add
    for bits in (31, 32, 63, 64, 70)
    for sign in (1, -1)
    for add in (-1, 0, 1)
]
FLOATS = ["nan", "inf", "-inf", "0.0", "-0.0", "1e-9", "0.001", "1e308", "-1e30", "5e-324"]
TEXTS = [
    "",
    "x",
    "\0",
    "127.0.0.1",
    "::1",
    "é",
    "\ud800",
    "sockname",
    "peername",
    "socket",
    "context",
    "1.2.3.4\0",
    "x" * 300,
    "/nonexistent/x",
]
SIZES = [0, 1, 100, 16_384, 65_536, 70_000]
VIEWS = ["strided", "reversed", "released", "square", "doubles", "readonly", "grown"]
CALLABLES = [
    "nothing",
    "fails",
    "exits",
    "interrupts",
    "mischief",
    "collects",
    "answers",
    "protocol",
    "compiled",
    "coroutine",
]
TRAITS = ["sane", "fails", "interrupts", "mischief", "nonsense", "negative", "huge", "collects"]
FACES = [
    "object",
    "bytes",
    "bytearray",
    "memoryview",
    "int",
    "tuple",
    "buffered",
    "future",
    "loop",
    "dict",
    "str",
]
DESCRIPTORS = [
    "ours",
    "theirs",
    "udp",
    "closed",
    "listening",
    "event",
    "file",
    "negative",
    "beyond",
    "free",
]

# What a step may act on: a thing made by an earlier step, by a number modulo their count.
pooled = st.integers(0, 40).map(lambda number: ["pool", number])

# Good values often, so that calls get past the first check of their arguments.
good = st.one_of(
    pooled,
    st.sampled_from(["core", "core", "loop", "bare"]).map(lambda name: ["loop", name]),
    st.sampled_from(["ours", "theirs", "udp", "listening", "closed", "connected"]).map(
        lambda name: ["socket", name]
    ),
    st.sampled_from(CALLABLES).map(lambda name: ["callable", name]),
    st.sampled_from(TRAITS).map(lambda trait: ["protocol", trait, False]),
    st.sampled_from(TRAITS).map(lambda trait: ["protocol", trait, True]),
    st.sampled_from(DESCRIPTORS).map(lambda name: ["fd", name]),
    st.sampled_from(SIZES).map(lambda size: ["bytes", size]),
    st.sampled_from(
        [
            ["future", False],
            ["future", True],
            ["context"],
            ["poller"],
            ["server"],
            ["address", "ours"],
            ["address", "path"],
            ["address", "name"],
        ]
    ),
)
plain = st.one_of(
    st.just(["none"]),
    st.booleans().map(lambda value: ["bool", value]),
    st.sampled_from(EDGES).map(lambda value: ["int", str(value)]),
    st.integers().map(lambda value: ["int", str(value)]),
    st.sampled_from(FLOATS).map(lambda value: ["float", value]),
    st.sampled_from(TEXTS).map(lambda value: ["text", value]),
    st.sampled_from(SIZES).map(lambda size: ["bytearray", size]),
    st.sampled_from(VIEWS).map(lambda name: ["view", name]),
    st.tuples(st.sampled_from(FACES), st.sampled_from(TRAITS)).map(lambda pair: ["weird", *pair]),
    st.just(["class"]),
)
flat = st.one_of(good, plain)
values = st.one_of(
    good,
    plain,
    st.lists(flat, max_size=4).map(lambda items: ["tuple", items]),
    st.lists(flat, max_size=4).map(lambda items: ["list", items]),
    st.lists(st.tuples(st.sampled_from(TEXTS), flat).map(list), max_size=2).map(
        lambda items: ["dict", items]
    ),
)
KEYWORDS = [
    "context",
    "callback",
    "delay",
    "when",
    "name",
    "high",
    "low",
    "loop",
    "sock",
    "data",
    "poller",
    "spin_s",
    "protocol",
    "waiter",
    "extra",
    "server",
    "address",
    "x",
]
arguments = st.tuples(
    st.lists(values, max_size=6),
    st.one_of(
        st.just([]),
        st.lists(st.tuples(st.sampled_from(KEYWORDS), values).map(list), max_size=2),
    ),
).map(list)


class Odd:
    """Builds objects whose every method misbehaves in one way."""

    def __init__(self, world):
        self.world = world

    def act(self, trait, sane):
        """Do what the trait says, and return `sane` or something else in its place."""
        if trait == "fails":
            raise ValueError("a fuzzed object fails")
        if trait == "interrupts":
            raise KeyboardInterrupt
        if trait == "mischief":
            self.world.mischief()
        if trait == "collects":
            self.world.collect()
        return {"nonsense": "nonsense", "negative": -1, "huge": 1 << 70}.get(trait, sane)

    def make(self, face, trait):
        """Return an object that says it is a `face`, and misbehaves by `trait`."""
        faces = {
            "bytes": bytes,
            "bytearray": bytearray,
            "memoryview": memoryview,
            "int": int,
            "tuple": tuple,
            "buffered": asyncio.BufferedProtocol,
            "future": asyncio.Future,
            "loop": asyncio.AbstractEventLoop,
            "dict": dict,
            "str": str,
        }
        sane = {
            "__len__": 3,
            "__bool__": True,
            "__index__": 5,
            "__int__": 5,
            "__float__": 0.5,
            "__hash__": 1,
            "__eq__": True,
            "__lt__": False,
            "__fspath__": "/nonexistent",
            "__repr__": "weird",
            "__str__": "weird",
            "__contains__": False,
            "__call__": None,
            "fileno": self.world.fd_named("ours"),
            "family": 2,
            "type": 1,
            "gettimeout": 0,
            "done": False,
            "get_buffer": bytearray(10),
            "_attach": None,
            "_detach": None,
        }
        members = {
            name: functools.partialmethod(
                lambda _me, *_args, answer: self.act(trait, answer), answer=answer
            )
            for name, answer in sane.items()
        }
        members["__iter__"] = lambda _me: iter(self.act(trait, [b"a", b"b"]))
        members["__await__"] = lambda _me: iter(self.act(trait, [None]))
        members["__getattr__"] = lambda _me, name: self.absent(trait, name)
        members["__buffer__"] = lambda _me, _flags: memoryview(self.act(trait, b"weird"))
        members["__del__"] = lambda _me: self.act(trait, None)
        if face == "int":
            members.pop("__repr__")
            return type("WeirdInt", (int,), {**members, "__getattr__": None})(-3)
        if face in faces:
            members["__class__"] = property(lambda _me: self.act(trait, faces[face]))
        return type("Weird", (), members)()

    def absent(self, trait, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_args, **_kwargs: self.act(trait, None)


class Protocol(asyncio.Protocol, asyncio.DatagramProtocol):
    """A protocol of which each method does what the trait says."""

    def __init__(self, odd, trait):
        self.odd, self.trait = odd, trait
        self.buffer = bytearray(1000)

    def __getattribute__(self, name):
        if name.startswith("_") or name in {"odd", "trait", "buffer"}:
            return object.__getattribute__(self, name)
        answer = self.buffer if name == "get_buffer" else None
        return lambda *_args: self.odd.act(self.trait, answer)


class FillingProtocol(Protocol, asyncio.BufferedProtocol):
    """The same, for a transport that reads into its protocol's buffer."""


class Maker:
    """Makes values of descriptions, in one world."""

    def __init__(self, world):
        self.world = world
        self.odd = Odd(world)

    def make(self, description):
        kind, *rest = description
        return getattr(self, f"make_{kind}")(*rest)

    def many(self, arguments):
        """Return positions and names, as a call takes them."""
        positions, named = arguments
        return [self.make(item) for item in positions], {
            name: self.make(item) for name, item in named
        }

    def make_none(self):
        return None

    def make_bool(self, value):
        return value

    def make_int(self, text):
        return int(text)

    def make_float(self, text):
        return float(text)

    def make_text(self, text):
        return text

    def make_bytes(self, size):
        return b"b" * size

    def make_bytearray(self, size):
        return bytearray(size)

    def make_tuple(self, items):
        return tuple(self.make(item) for item in items)

    def make_list(self, items):
        return [self.make(item) for item in items]

    def make_dict(self, items):
        return {name: self.make(item) for name, item in items}

    def make_class(self):
        return Maker

    def make_pool(self, number):
        return self.world.pick(number)

    def make_view(self, name):
        data = bytearray(64)
        whole = memoryview(data)
        if name == "released":
            whole.release()
            return whole
        if name == "grown":
            return mmap.mmap(-1, 100)
        return {
            "strided": whole[::2],
            "reversed": whole[::-1],
            "square": whole.cast("B", (8, 8)),
            "doubles": memoryview(array.array("d", range(4000))),
            "readonly": whole.toreadonly(),
        }[name]

    def make_loop(self, name):
        return self.world.loop_named(name)

    def make_poller(self):
        return self.world.loop_named("core")._poller

    def make_socket(self, name):
        return self.world.socket_named(name)

    def make_fd(self, name):
        return self.world.fd_named(name)

    def make_address(self, name):
        return {
            "ours": ("127.0.0.1", 9),
            "path": "/nonexistent/x",
            "name": ("127.0.0.1\0", 9, "x", 1 << 40),
        }[name]

    def make_context(self):
        return contextvars.copy_context()

    def make_future(self, done):
        future = asyncio.Future(loop=self.world.loop_named("core"))
        if done:
            future.cancel()
        return future

    def make_server(self):
        return self.odd.make("object", "sane")

    def make_weird(self, face, trait):
        return self.odd.make(face, trait)

    def make_protocol(self, trait, filling):
        return (FillingProtocol if filling else Protocol)(self.odd, trait)

    def make_callable(self, name):
        async def coroutine(*_args):
            await asyncio.sleep(0)

        def exits(*_args):
            raise SystemExit

        traits = {
            "fails": "fails",
            "interrupts": "interrupts",
            "mischief": "mischief",
            "collects": "collects",
            "answers": "nonsense",
            "nothing": "sane",
        }
        if name in traits:
            return lambda *_args, **_kwargs: self.odd.act(traits[name], None)
        return {
            "exits": exits,
            "protocol": lambda *_args: Protocol(self.odd, "sane"),
            "compiled": int,
            "coroutine": coroutine,
        }[name]
