from asyncio import BaseProtocol
from collections.abc import Callable
from socket import socket
from typing import Any

from meantime._core.loop import Loop, LoopWatcher

class Listener(LoopWatcher):
    def __init__(
        self,
        loop: Loop,
        sock: socket,
        protocol_factory: Callable[[], BaseProtocol],
        backlog: int,
        server: Any = None,
    ) -> None: ...
    @property
    def sock(self) -> socket | None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
