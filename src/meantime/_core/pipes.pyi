from asyncio import BaseProtocol, Future
from typing import Any

from meantime._core.endpoint import Endpoint
from meantime._core.loop import Loop
from meantime._core.sending import SendingEndpoint

class ReadPipeTransport(Endpoint):
    def __init__(
        self,
        loop: Loop,
        pipe: Any,
        protocol: BaseProtocol,
        waiter: Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None: ...
    _pipe: Any
    def is_reading(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

class WritePipeTransport(SendingEndpoint):
    def __init__(
        self,
        loop: Loop,
        pipe: Any,
        protocol: BaseProtocol,
        waiter: Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None: ...
    _pipe: Any
