"""Addresses as plain data: reading literal ones, and ordering what a resolver found."""

from __future__ import annotations

import itertools
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meantime.loop.face import Address, AddressInfo

# With these two flags getaddrinfo reads the text and asks nobody: no server, no file, no waiting.
NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

# The arguments of getaddrinfo: host, port, family, type, proto, flags.
Question = tuple["bytes | str | None", "bytes | str | int | None", int, int, int, int]

PROTOS: dict[int, int] = {
    socket.SOCK_STREAM: socket.IPPROTO_TCP,
    socket.SOCK_DGRAM: socket.IPPROTO_UDP,
}


def read_literal(address: Address, family: int, kind: int, proto: int) -> AddressInfo | None:
    """Return what a literal host and a numeric port mean, or None when it takes a resolver.

    The short way for addresses such as ("127.0.0.1", 80); None never means that there is none.
    """
    host, port = address[:2]
    wanted_proto = PROTOS.get(kind)
    if wanted_proto is None or proto not in (0, wanted_proto):
        return None
    number = read_port(port)
    if isinstance(host, bytes):
        # An address is ASCII; another name is for the resolver, which knows IDNA.
        host = host.decode("ascii", "replace")
    # A zone ("fe80::1%eth0") needs the names of the interfaces, which getaddrinfo looks up.
    if number is None or not isinstance(host, str) or "%" in host:
        return None
    if family in (0, socket.AF_INET) and is_literal(socket.AF_INET, host):
        return socket.AF_INET, kind, wanted_proto, "", (host, number)
    if family in (0, socket.AF_INET6) and is_literal(socket.AF_INET6, host):
        flow_and_scope = (*address[2:], 0, 0)[:2]
        return socket.AF_INET6, kind, wanted_proto, "", (host, number, *flow_and_scope)
    return None


def read_port(port: object) -> int | None:
    """Return the port as a number, or None when it is a name such as "http"."""
    if port is None or port in ("", b""):
        return 0
    if not isinstance(port, (int, str, bytes)):
        return None
    try:
        return int(port)
    except ValueError:
        return None


def is_literal(family: int, host: str) -> bool:
    """Tell whether `host` is an address of this family and not a name."""
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True


def lookup_numeric(question: Question) -> list[AddressInfo] | None:
    """Return exactly what getaddrinfo gives where it need not wait, or None where it might."""
    host, port, family, kind, proto, flags = question
    try:
        return ask_resolver((host, port, family, kind, proto, flags | NUMERIC))
    except (OSError, UnicodeError):
        # A name, or an error: both belong to the real call, so that the error is the real one.
        return None


def ask_resolver(question: Question) -> list[AddressInfo]:
    """Return what getaddrinfo gives, with the types that we have for it."""
    found: list[Any] = socket.getaddrinfo(*question)
    return found


def interleave(infos: Iterable[AddressInfo], first_count: int) -> list[AddressInfo]:
    """Return the addresses with their families taking turns, as RFC 8305 wants it.

    The family that the resolver put first has `first_count` addresses before the turns begin.
    """
    by_family: dict[int, list[AddressInfo]] = {}
    for info in infos:
        by_family.setdefault(info[0], []).append(info)
    first, *others = by_family.values()
    head, first = first[: first_count - 1], first[first_count - 1 :]
    turns = itertools.zip_longest(first, *others)
    return head + [info for turn in turns for info in turn if info is not None]


def pair_by_family(
    local: Iterable[AddressInfo], remote: Iterable[AddressInfo]
) -> dict[tuple[int, int], tuple[Address, Address]]:
    """Return for each (family, proto) its last local and its last remote address, or None."""
    pairs: dict[tuple[int, int], tuple[Address, Address]] = {}
    for family, _, proto, _, address in local:
        pairs[family, proto] = (address, None)
    for family, _, proto, _, address in remote:
        here, _ = pairs.get((family, proto), (None, None))
        pairs[family, proto] = (here, address)
    return pairs
