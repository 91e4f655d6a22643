"""How many datagrams a second does a UDP echo server answer?

Each client has one datagram on its way. One that is lost is sent again after 0.2 s.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop

from network import Server, ask_network, network_command_line


class DatagramEcho(asyncio.DatagramProtocol):
    """Sends each datagram back to where it came from."""

    __slots__ = ("transport",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.transport.sendto(data, address)  # type: ignore[attr-defined]


async def start(loop: AbstractEventLoop, _path: str) -> Server:
    endpoint = await loop.create_datagram_endpoint(DatagramEcho, local_addr=("127.0.0.1", 0))
    port = endpoint[0].get_extra_info("sockname")[1]
    return ("--udp", str(port)), endpoint


if __name__ == "__main__":
    ask_network(network_command_line(__doc__).parse_args(), start, kind="udp")
