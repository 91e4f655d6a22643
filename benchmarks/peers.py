"""The loops that are compared, by name, and how to make one of each."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Peer:
    """One thing to measure: a loop in one configuration, or the server written in C."""

    name: str
    factory: str
    """``module:function`` that makes a loop; empty for the server written in C."""
    environment: Mapping[str, str] = field(default_factory=dict)
    colour: str = "black"
    patch: str = ""
    """``module:function`` that changes a loop after it is made; empty for most."""
    primitives: str = "asyncio"
    """The module whose sleep, gather, Queue and so on a program on this peer uses."""
    offloads: str = ""
    """What the questions about other processes use; empty where they are not asked."""
    package: str = ""
    """For a library that runs functions in other processes, on the best loop beside ours."""

    @property
    def modules(self) -> list[str]:
        """The modules that must be there, the loop's own first."""
        names = (self.package, self.factory, self.patch)
        return [name.partition(":")[0] for name in names if name]

    def missing_module(self) -> str:
        """Return the first module that is not installed; empty if all are."""
        return next((name for name in self.modules if importlib.util.find_spec(name) is None), "")

    def version(self) -> str:
        """Return the versions of the packages; empty where a version would say nothing."""
        versions = (version_of(name) for name in self.modules if name != "asyncio")
        return " + ".join(versions)

    def new_loop(self) -> AbstractEventLoop:
        """Return a new loop of this kind. Sets this peer's environment variables first."""
        os.environ.update(self.environment)
        loop: AbstractEventLoop = named(self.factory)()
        if self.patch:
            named(self.patch)(loop)
        return loop


def named(where: str) -> Callable[..., Any]:
    """Return the function that is written as ``module:function``."""
    module, _, function = where.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def version_of(module: str) -> str:
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return "version unknown: imported from a folder"


BASE = "uvloop"
"""Every ratio is a ratio to this peer, unless a question names another."""

C_SERVER = "c-epoll"

PATCH = "aiofastnet:patch_loop"
"""Replaces a loop's create_connection, create_server, start_tls and sendfile by its own."""

PEERS = {
    peer.name: peer
    for peer in (
        Peer("uvloop", "uvloop:new_event_loop", colour="#7f7f7f", offloads="executor"),
        Peer("uvloop+aiofastnet", "uvloop:new_event_loop", colour="#b07aa1", patch=PATCH),
        Peer("asyncio", "asyncio:new_event_loop", colour="#c9b400", offloads="executor"),
        Peer("asyncio+aiofastnet", "asyncio:new_event_loop", colour="#8c6d31", patch=PATCH),
        Peer("rloop", "rloop:new_event_loop", colour="#d55e00"),
        Peer("rsloop", "rsloop:new_event_loop", colour="#cc79a7"),
        Peer("blazio", "blazio:new_event_loop", colour="#009e73"),
        Peer("zuvloop", "zuvloop:new_event_loop", colour="#f0a3c0"),
        Peer("zloop", "zloop:new_event_loop", colour="#8fd3b6"),
        Peer(
            "meantime-io_uring",
            "meantime:new_event_loop",
            {"MEANTIME_BACKEND": "io_uring"},
            "#0051a2",
            primitives="meantime",
            offloads="meantime",
        ),
        Peer(
            "meantime-epoll",
            "meantime:new_event_loop",
            {"MEANTIME_BACKEND": "epoll"},
            "#56b4e9",
            primitives="meantime",
            offloads="meantime",
        ),
        Peer(C_SERVER, "", colour="black"),
        *(
            Peer(name, "uvloop:new_event_loop", colour=colour, offloads=name, package=name)
            for name, colour in (
                ("anyio", "#bcbd22"),
                ("aiomultiprocess", "#17becf"),
                ("loky", "#9467bd"),
                ("pebble", "#e377c2"),
            )
        ),
    )
}
