"""Datagrams to many, and from addresses that mean something on one interface only."""

import asyncio
import socket
import struct
from pathlib import Path

import pytest

GROUP = "239.255.77.1"
GROUP_6 = "ff02::7:7701"


def link_local():
    """Return a link-local address of this machine and its interface, or None."""
    try:
        table = Path("/proc/net/if_inet6").read_text()
    except FileNotFoundError:
        return None
    for line in table.splitlines():
        digits, _, _, scope, flags, interface = line.split()
        # Of this link (0x20), and no address that is still being tried or was given up.
        if scope == "20" and not int(flags, 16) & 0x48:
            return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)), interface
    return None


LINK_LOCAL = link_local()
needs_link_local = pytest.mark.skipif(
    LINK_LOCAL is None, reason="this machine has no link-local IPv6 address"
)


class Mailbox(asyncio.DatagramProtocol):
    """Keeps what arrives, datagrams and errors."""

    def __init__(self):
        self.received = asyncio.Queue()

    def datagram_received(self, data, addr):
        self.received.put_nowait((data, addr))

    def error_received(self, exc):
        self.received.put_nowait(exc)


class Endpoints:
    """Opens endpoints and closes them all."""

    def __init__(self, loop):
        self.loop = loop
        self.transports = []

    async def __aenter__(self):
        return self

    async def __call__(self, **options):
        transport, mailbox = await self.loop.create_datagram_endpoint(Mailbox, **options)
        self.transports.append(transport)
        return transport, mailbox

    async def __aexit__(self, *_):
        for transport in self.transports:
            transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def next_of(mailbox):
    async with asyncio.timeout(10):
        return await mailbox.received.get()


# --- Multicast ------------------------------------------------------------------------------------


def test_all_members_of_a_group_hear_what_is_sent_to_it(loop):
    membership = socket.inet_aton(GROUP) + socket.inet_aton("127.0.0.1")

    async def session():
        async with Endpoints(loop) as endpoint:
            first, one = await endpoint(local_addr=("0.0.0.0", 0), reuse_port=True)
            address = first.get_extra_info("sockname")
            second, two = await endpoint(local_addr=address, reuse_port=True)
            for member in (first, second):
                sock = member.get_extra_info("socket")
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            sender, _ = await endpoint(local_addr=("127.0.0.1", 0))
            sock = sender.get_extra_info("socket")
            sock.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
            )
            sender.sendto(b"to all", (GROUP, address[1]))
            expected = (b"to all", sender.get_extra_info("sockname"))
            assert [await next_of(one), await next_of(two)] == [expected, expected]

    loop.run_until_complete(session())


@needs_link_local
def test_a_group_of_ipv6_is_joined_and_sent_to_on_one_interface(loop):
    _, interface = LINK_LOCAL
    index = socket.if_nametoindex(interface)
    membership = socket.inet_pton(socket.AF_INET6, GROUP_6) + struct.pack("@I", index)

    async def session():
        async with Endpoints(loop) as endpoint:
            member, mailbox = await endpoint(local_addr=("::", 0))
            sock = member.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
            sender, _ = await endpoint(family=socket.AF_INET6)
            port = member.get_extra_info("sockname")[1]
            sender.sendto(b"to all", (GROUP_6, port, 0, index))
            data, address = await next_of(mailbox)
            assert (data, address[3]) == (b"to all", index)

    loop.run_until_complete(session())


# --- Broadcast ------------------------------------------------------------------------------------


def test_a_broadcast_reaches_whoever_listens_on_the_port(loop):
    async def session():
        async with Endpoints(loop) as endpoint:
            listener, mailbox = await endpoint(local_addr=("0.0.0.0", 0))
            port = listener.get_extra_info("sockname")[1]
            sender, answers = await endpoint(
                local_addr=("127.0.0.1", 0),
                remote_addr=("127.255.255.255", port),
                allow_broadcast=True,
            )
            sender.sendto(b"anybody?")
            data, address = await next_of(mailbox)
            assert (data, address) == (b"anybody?", sender.get_extra_info("sockname"))
            # The answer comes from another address than the one that was asked.
            listener.sendto(b"me", address)
            assert await next_of(answers) == (b"me", ("127.0.0.1", port))

    loop.run_until_complete(session())


def test_a_broadcast_that_was_not_allowed_is_told_as_an_error(loop):
    """The transport goes on: it is one datagram that failed."""

    async def session():
        async with Endpoints(loop) as endpoint:
            listener, mailbox = await endpoint(local_addr=("127.0.0.1", 0))
            sender, errors = await endpoint(local_addr=("127.0.0.1", 0))
            port = listener.get_extra_info("sockname")[1]
            sender.sendto(b"anybody?", ("127.255.255.255", port))
            assert type(await next_of(errors)) is PermissionError
            sender.sendto(b"you", ("127.0.0.1", port))
            assert (await next_of(mailbox))[0] == b"you"

    loop.run_until_complete(session())


# --- Unix datagrams -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_abstract", [False, True])
def test_a_unix_datagram_is_answered_by_its_senders_path(loop, tmp_path, is_abstract):
    def place(name):
        path = str(tmp_path / name)
        return "\0" + path if is_abstract else path

    async def session():
        async with Endpoints(loop) as endpoint:
            here, mailbox = await endpoint(local_addr=place("here"), family=socket.AF_UNIX)
            _, answers = await endpoint(
                local_addr=place("there"), remote_addr=place("here"), family=socket.AF_UNIX
            )
            there = endpoint.transports[-1]
            there.sendto(b"question")
            data, sender = await next_of(mailbox)
            assert (data, sender) == (b"question", there.get_extra_info("sockname"))
            here.sendto(b"answer", sender)
            assert (await next_of(answers))[0] == b"answer"

    loop.run_until_complete(session())


def test_a_pair_of_unix_datagram_sockets_can_be_given(loop):
    async def session():
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        async with Endpoints(loop) as endpoint:
            here, _ = await endpoint(sock=left)
            _, mailbox = await endpoint(sock=right)
            here.sendto(b"hello")
            assert (await next_of(mailbox))[0] == b"hello"

    loop.run_until_complete(session())


def test_unix_datagrams_wait_for_a_slow_receiver_and_none_is_lost(loop, tmp_path):
    """Other than UDP, the kernel does not drop them; it says that there is no room."""
    count = 2000
    path = str(tmp_path / "slow")

    class Flow(asyncio.DatagramProtocol):
        told = ()

        def pause_writing(self):
            self.told += ("pause",)

        def resume_writing(self):
            self.told += ("resume",)

    async def session():
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as slow:
            slow.bind(path)
            slow.setblocking(False)
            transport, flow = await loop.create_datagram_endpoint(
                Flow, remote_addr=path, family=socket.AF_UNIX
            )
            for number in range(count):
                transport.sendto(b"%04d" % number * 100)
            assert flow.told == ("pause",)
            transport.close()
            received = [await loop.sock_recv(slow, 1000) for _ in range(count)]
            while transport._state != "CLOSED":
                await asyncio.sleep(0)
            assert received == [b"%04d" % number * 100 for number in range(count)]
            assert flow.told == ("pause", "resume")

    loop.run_until_complete(session())


# --- Zones ----------------------------------------------------------------------------------------


@needs_link_local
def test_a_zone_is_understood_wherever_an_address_is_given(loop):
    """fe80::1 means another machine on each interface, so the interface is part of the address."""
    host, interface = LINK_LOCAL
    index = socket.if_nametoindex(interface)

    async def session():
        async with Endpoints(loop) as endpoint:
            listener, mailbox = await endpoint(local_addr=(f"{host}%{interface}", 0))
            address = listener.get_extra_info("sockname")
            assert (address[0], address[3]) == (host, index)
            by_tuple, answers = await endpoint(family=socket.AF_INET6)
            by_name, _ = await endpoint(family=socket.AF_INET6)
            connected, _ = await endpoint(remote_addr=(f"{host}%{index}", address[1]))
            by_tuple.sendto(b"tuple", address)
            by_name.sendto(b"name", (f"{host}%{interface}", address[1]))
            connected.sendto(b"connected")
            letters = dict([await next_of(mailbox) for _ in range(3)])
            assert set(letters) == {b"tuple", b"name", b"connected"}
            assert {(sender[0], sender[3]) for sender in letters.values()} == {(host, index)}
            # The sender's address is enough for an answer.
            listener.sendto(b"answer", letters[b"tuple"])
            assert (await next_of(answers))[0] == b"answer"

    loop.run_until_complete(session())


@needs_link_local
@pytest.mark.parametrize("zone", ["name", "number"])
def test_a_connection_is_made_within_a_zone(loop, zone):
    host, interface = LINK_LOCAL
    index = socket.if_nametoindex(interface)
    place = f"{host}%{interface if zone == 'name' else index}"

    async def session():
        server = await loop.create_server(asyncio.Protocol, place, 0)
        async with server:
            address = server.sockets[0].getsockname()
            assert (address[0], address[3]) == (host, index)
            transport, _ = await loop.create_connection(asyncio.Protocol, place, address[1])
            assert transport.get_extra_info("peername") == address
            transport.close()
            with socket.socket(socket.AF_INET6) as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, address)
                assert sock.getpeername() == address
        await asyncio.sleep(0)

    loop.run_until_complete(session())
