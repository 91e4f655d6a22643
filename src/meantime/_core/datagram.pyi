import asyncio
from asyncio import BaseProtocol, Future
from socket import socket
from typing import Any

from meantime._core.endpoint import Endpoint
from meantime._core.loop import Loop

class DatagramTransportFace(asyncio.Transport, asyncio.DatagramTransport): ...

class DatagramTransport(Endpoint):
    def __init__(
        self,
        loop: Loop,
        sock: socket,
        protocol: BaseProtocol,
        address: Any = None,
        waiter: Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None: ...
    def sendto(self, data: bytes | bytearray | memoryview[Any], addr: Any = None) -> None: ...
