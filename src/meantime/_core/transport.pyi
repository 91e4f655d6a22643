from asyncio import BaseProtocol, Future
from socket import socket
from typing import Any

from meantime._core.filesending import FileSendingEndpoint
from meantime._core.loop import Loop

class StreamTransport(FileSendingEndpoint):
    _start_tls_compatible: bool
    def __init__(
        self,
        loop: Loop,
        sock: socket,
        protocol: BaseProtocol,
        waiter: Future[None] | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
    ) -> None: ...
    def is_reading(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
