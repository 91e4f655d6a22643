"""Fuzzed programs, as hypothesis draws them: a poller, steps, and what misbehaving objects do."""

from hypothesis import strategies as st

from tests.fuzz import discovery, machine
from tests.fuzz.values import SIZES, arguments, values

numbers = st.integers(0, 40)
methods = st.integers(0, 80)
class_names = st.sampled_from(sorted(discovery.classes()))
GOOD = [
    "handle",
    "timer",
    "stream",
    "filling",
    "datagrams",
    "listener",
    "scripted",
    "poller",
    "ring",
    "reader",
    "coroutine",
    *machine.PRIMITIVES,
]

steps = st.one_of(
    st.tuples(st.just("call"), numbers, methods, arguments),
    st.tuples(st.just("call"), numbers, methods, arguments),
    st.tuples(st.just("call"), numbers, methods, st.just([[], []])),
    st.tuples(st.just("good"), st.sampled_from(GOOD)),
    st.tuples(st.just("good"), st.sampled_from(GOOD)),
    st.tuples(
        st.just("make"), class_names, st.sampled_from(["call", "new", "sub", "subnew"]), arguments
    ),
    st.tuples(st.just("turn"), st.sampled_from(["core", "loop"]), st.integers(1, 3)),
    st.tuples(
        st.just("send"), st.sampled_from(["theirs", "ours", "connected"]), st.sampled_from(SIZES)
    ),
    st.tuples(st.just("init"), numbers, arguments),
    st.tuples(st.just("set"), numbers, methods, values),
    st.tuples(st.just("delete"), numbers, methods),
    st.tuples(st.just("read"), numbers),
    st.tuples(st.just("look"), numbers),
    st.tuples(st.just("copy"), numbers, st.sampled_from(["copy", "deepcopy", "pickle", "state"])),
    st.tuples(st.just("weakref"), numbers),
    st.tuples(st.just("drop"), numbers),
    st.tuples(st.just("collect")),
    st.tuples(st.just("drive"), numbers, st.integers(0, 3)),
    st.tuples(st.just("await"), numbers),
    st.tuples(st.just("await"), numbers),
    st.tuples(st.just("end"), st.sampled_from(["ours", "theirs", "udp", "listening"])),
    st.tuples(st.just("close"), st.sampled_from(["core", "loop"])),
    st.tuples(st.just("face"), st.sampled_from(["plain", "harvest", "pipe", "file"])),
).map(list)


def programs(backends):
    """Return programs of any steps in any order."""
    return st.tuples(
        st.sampled_from(backends),
        st.lists(steps, min_size=1, max_size=12),
        st.lists(steps, max_size=4),
    ).map(list)


def sweeps(backends):
    """Return lists of programs that together touch every name of every class, in one state."""
    return st.tuples(
        st.sampled_from(backends),
        st.sampled_from(["new", "good", "closed", "unbound"]),
        st.lists(arguments, min_size=7, max_size=7),
        st.lists(steps, max_size=4),
    ).map(sweep)


def sweep(drawn):
    backend, state, given, mischief = drawn
    swept = [
        swept_steps(cls, name, state, given[index % len(given)])
        for index, (cls, name) in enumerate(discovery.targets())
    ]
    ways = {"new": "new", "good": "call", "closed": "sub", "unbound": "subnew"}
    swept += [life_of(cls, ways[state], given[0]) for cls in discovery.classes()]
    return [[backend, steps, mischief] for steps in swept]


def life_of(cls, way, given):
    """Make an object of a class, and do to it what can be done to any object."""
    return [
        ["make", cls, way, given],
        ["read", 0],
        ["look", 0],
        *(["copy", 0, how] for how in ("copy", "deepcopy", "pickle", "state")),
        ["weakref", 0],
        ["init", 0, given],
        ["init", 0, given],
        ["delete", 0, 0],
        ["collect"],
        ["drop", 0],
        ["collect"],
    ]


def swept_steps(cls, name, state, given):
    if not cls:
        return [["function", name, given]]
    if state in {"new", "unbound"}:
        return [["named", cls, state, name, given], ["collect"]]
    ready = [["good", kind] for kind in GOOD if kind in cls.lower() or kind == "stream"]
    if state == "closed":
        ready.append(["close", "core"])
    return [*ready, ["named", cls, "pool", name, given], ["turn", "core", 2]]
