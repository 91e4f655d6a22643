"""Names and literal addresses."""

import socket
import threading

import pytest

from meantime.loop import addresses


def ask(loop, *question, **options):
    return loop.run_until_complete(loop.getaddrinfo(*question, **options))


LITERALS = [
    ("127.0.0.1", 80, {}),
    ("127.0.0.1", "80", {"type": socket.SOCK_STREAM}),
    ("::1", 80, {"type": socket.SOCK_DGRAM}),
    ("::1", None, {"family": socket.AF_INET6}),
    (None, 80, {"flags": socket.AI_PASSIVE, "type": socket.SOCK_STREAM}),
    (None, 80, {"type": socket.SOCK_STREAM}),
    (b"10.0.0.1", 80, {"type": socket.SOCK_STREAM, "flags": socket.AI_CANONNAME}),
    ("127.1", 80, {"type": socket.SOCK_STREAM}),
    ("0x7f000001", 80, {"type": socket.SOCK_STREAM}),
]


@pytest.mark.parametrize(("host", "port", "options"), LITERALS)
def test_a_literal_gives_what_the_socket_module_gives(loop, host, port, options):
    assert ask(loop, host, port, **options) == socket.getaddrinfo(host, port, **options)


@pytest.mark.parametrize(("host", "port", "options"), LITERALS)
def test_a_literal_needs_no_thread(loop, host, port, options):
    before = set(threading.enumerate())
    ask(loop, host, port, **options)
    assert set(threading.enumerate()) == before


def test_a_name_is_looked_up_outside_the_default_executor(loop):
    """A slow name server must not stop the functions that the program runs in threads."""
    assert ask(loop, "localhost", 80, type=socket.SOCK_STREAM)
    assert loop._default_executor is None


def test_a_service_has_a_name_too(loop):
    assert ask(loop, "127.0.0.1", "http") == socket.getaddrinfo("127.0.0.1", "http")


def test_a_contradiction_gives_the_resolvers_own_error(loop):
    with pytest.raises(socket.gaierror):
        ask(loop, "127.0.0.1", 80, family=socket.AF_INET6)


def test_an_address_has_a_name(loop):
    address = ("127.0.0.1", 80)
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    found = loop.run_until_complete(loop.getnameinfo(address, flags))
    assert found == ("127.0.0.1", "80")


# --- The short way, without even asking the C library --------------------------------------------


@pytest.mark.parametrize(
    "address", [("127.0.0.1", 80), ("::1", 80), ("1.2.3.4", "443"), (b"::", None), ("::1", "")]
)
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_the_short_way_gives_the_same(address, kind):
    found = addresses.read_literal(address, 0, kind, 0)
    host, port = address
    assert [found] == socket.getaddrinfo(host, port or 0, 0, kind)


@pytest.mark.parametrize(
    ("address", "family"),
    [
        (("localhost", 80), 0),
        (("127.0.0.1", "http"), 0),
        (("127.0.0.1", 80), socket.AF_INET6),
        (("::1", 80), socket.AF_INET),
        (("fe80::1%lo", 80), 0),
        ((None, 80), 0),
        (("a\0b", 80), 0),
    ],
)
def test_the_short_way_leaves_the_rest_to_the_resolver(address, family):
    assert addresses.read_literal(address, family, socket.SOCK_STREAM, 0) is None


def test_a_flow_and_a_scope_are_kept():
    info = addresses.read_literal(("::1", 80, 1, 2), 0, socket.SOCK_STREAM, 0)
    assert info[4] == ("::1", 80, 1, 2)


def infos(text):
    families = {"4": socket.AF_INET, "6": socket.AF_INET6}
    return [(families[c], 0, 0, "", n) for n, c in enumerate(text)]


@pytest.mark.parametrize(
    ("found", "first_count", "order"),
    [
        ("6644", 1, [0, 2, 1, 3]),
        ("6644", 2, [0, 1, 2, 3]),
        ("66644", 2, [0, 1, 3, 2, 4]),
        ("4", 1, [0]),
        ("444", 5, [0, 1, 2]),
    ],
)
def test_families_take_turns(found, first_count, order):
    assert [info[4] for info in addresses.interleave(infos(found), first_count)] == order
