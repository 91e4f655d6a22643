"""The loops that are compared, by name, and how to make one of each."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
from asyncio import AbstractEventLoop
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Peer:
    """One thing to measure: a loop in one configuration, or the server written in C."""

    name: str
    factory: str
    """``module:function`` that makes a loop; empty for the server written in C."""
    environment: Mapping[str, str] = field(default_factory=dict)
    colour: str = "black"

    @property
    def module(self) -> str:
        return self.factory.partition(":")[0]

    def is_installed(self) -> bool:
        return not self.factory or importlib.util.find_spec(self.module) is not None

    def version(self) -> str:
        """Return the version of the package; empty where a version would say nothing."""
        if not self.factory or self.module == "asyncio":
            return ""
        try:
            return importlib.metadata.version(self.module)
        except importlib.metadata.PackageNotFoundError:
            return "version unknown: imported from a folder"

    def new_loop(self) -> AbstractEventLoop:
        """Return a new loop of this kind. Sets this peer's environment variables first."""
        os.environ.update(self.environment)
        module = importlib.import_module(self.module)
        loop: AbstractEventLoop = getattr(module, self.factory.partition(":")[2])()
        return loop


BASE = "uvloop"
"""Every ratio is a ratio to this peer, unless a question names another."""

C_SERVER = "c-epoll"

PEERS = {
    peer.name: peer
    for peer in (
        Peer("uvloop", "uvloop:new_event_loop", colour="#7f7f7f"),
        Peer("asyncio", "asyncio:new_event_loop", colour="#c9b400"),
        Peer("rloop", "rloop:new_event_loop", colour="#d55e00"),
        Peer("rsloop", "rsloop:new_event_loop", colour="#cc79a7"),
        Peer("blazio", "blazio:new_event_loop", colour="#009e73"),
        Peer(
            "meantime-io_uring",
            "meantime:new_event_loop",
            {"MEANTIME_BACKEND": "io_uring"},
            "#0051a2",
        ),
        Peer(
            "meantime-epoll",
            "meantime:new_event_loop",
            {"MEANTIME_BACKEND": "epoll"},
            "#56b4e9",
        ),
        Peer(C_SERVER, "", colour="black"),
    )
}
