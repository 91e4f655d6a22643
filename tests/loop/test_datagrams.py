"""UDP and Unix datagrams."""

import asyncio
import socket

import pytest

LOCAL = ("127.0.0.1", 0)


class Mailbox(asyncio.DatagramProtocol):
    """Keeps what arrives in a future."""

    def __init__(self):
        self.received = asyncio.get_running_loop().create_future()

    def datagram_received(self, data, addr):
        self.received.set_result((data, addr))


def run_and_close(loop, session):
    transports = []

    async def endpoint(**options):
        transport, protocol = await loop.create_datagram_endpoint(Mailbox, **options)
        transports.append(transport)
        return transport, protocol

    async def all_of_it():
        try:
            return await session(endpoint)
        finally:
            for transport in transports:
                transport.close()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    return loop.run_until_complete(all_of_it())


def test_two_endpoints_talk(loop):
    async def session(endpoint):
        here, mailbox = await endpoint(local_addr=LOCAL)
        there, _ = await endpoint(remote_addr=here.get_extra_info("sockname"))
        there.sendto(b"hello")
        data, sender = await mailbox.received
        return data, sender == there.get_extra_info("sockname")

    assert run_and_close(loop, session) == (b"hello", True)


def test_unix_datagrams_go_by_path(loop, tmp_path):
    path = str(tmp_path / "socket")

    async def session(endpoint):
        _, mailbox = await endpoint(local_addr=path, family=socket.AF_UNIX)
        sender, _ = await endpoint(remote_addr=path, family=socket.AF_UNIX)
        sender.sendto(b"hello")
        return (await mailbox.received)[0]

    assert run_and_close(loop, session) == b"hello"


def test_a_stale_unix_socket_is_replaced(loop, tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(path)

    async def session(endpoint):
        transport, _ = await endpoint(local_addr=path, family=socket.AF_UNIX)
        return transport.get_extra_info("sockname")

    assert run_and_close(loop, session) == path


def test_a_broadcasting_endpoint_hears_everybody(loop):
    """A connected socket would drop the answers, which come from other addresses."""

    async def session(endpoint):
        transport, _ = await endpoint(
            local_addr=LOCAL, remote_addr=("127.0.0.1", 9), allow_broadcast=True
        )
        sock = transport.get_extra_info("socket")
        with pytest.raises(OSError, match="not connected"):
            sock.getpeername()
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)

    assert run_and_close(loop, session) == 1


def test_two_endpoints_share_a_port_when_both_ask_for_it(loop):
    async def session(endpoint):
        first, _ = await endpoint(local_addr=LOCAL, reuse_port=True)
        address = first.get_extra_info("sockname")
        second, _ = await endpoint(local_addr=address, reuse_port=True)
        return second.get_extra_info("sockname") == address

    assert run_and_close(loop, session)


def test_an_address_in_use_is_an_error(loop):
    async def session(endpoint):
        first, _ = await endpoint(local_addr=LOCAL)
        await endpoint(local_addr=first.get_extra_info("sockname"))

    with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
        run_and_close(loop, session)


def test_a_bound_socket_can_be_given(loop):
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(LOCAL)

    async def session(endpoint):
        transport, _ = await endpoint(sock=sock)
        return transport.get_extra_info("socket").gettimeout()

    assert run_and_close(loop, session) == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "unexpected address family"),
        ({"local_addr": "127.0.0.1"}, TypeError, "2-tuple is expected"),
        ({"local_addr": ("127.0.0.1", 0, 0)}, TypeError, "2-tuple is expected"),
        ({"local_addr": LOCAL, "family": socket.AF_UNIX}, TypeError, "string is expected"),
        (
            {"local_addr": LOCAL, "remote_addr": ("::1", 1)},
            ValueError,
            "can not get address information",
        ),
    ],
)
def test_addresses_that_mean_nothing_are_refused(loop, options, error, message):
    async def session(endpoint):
        await endpoint(**options)

    with pytest.raises(error, match=message):
        run_and_close(loop, session)


def test_options_beside_a_given_socket_are_refused(loop):
    async def session(endpoint):
        await endpoint(sock=sock, reuse_port=True, flags=1)

    with (
        socket.socket(type=socket.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match="flags=1, reuse_port=True"),
    ):
        run_and_close(loop, session)


def test_a_stream_socket_is_refused(loop):
    async def session(endpoint):
        await endpoint(sock=sock)

    with (
        socket.socket() as sock,
        pytest.raises(ValueError, match=r"A (datagram s|UDP S)ocket was expected"),
    ):
        run_and_close(loop, session)
