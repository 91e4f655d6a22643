"""Database servers for the questions whose loop is the client's: started on a free port.

They are the servers of the ecosystem tests, on the core where other questions have their client.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Self

from harness import UnavailableError, on_client_core
from network import HERE

STARTERS = HERE.parent / "tests" / "ecosystem" / "servers.py"


def starter(name: str) -> AbstractContextManager[int]:
    """Return what starts a server and gives its port: ``redis`` or ``postgres``."""
    spec = importlib.util.spec_from_file_location("ecosystem_servers", STARTERS)
    assert spec is not None
    assert spec.loader is not None
    servers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(servers)
    start: AbstractContextManager[int] = getattr(servers, f"{name}_server")()
    return start


@contextlib.contextmanager
def service(name: str, port: int = 0) -> Iterator[int]:
    """Give the port of a service: of the one that runs there already, or else of a new one.

    Raises:
        UnavailableError: the service's program is not installed, or does not start.
    """
    if port:
        yield port
        return
    try:
        import pytest

        server = starter(name)
    except ImportError as error:
        hint = "the servers are started as the tests do it, with pytest"
        raise UnavailableError(f"{error} ({hint})") from error
    with contextlib.ExitStack() as stack:
        with on_client_core():
            try:
                port = stack.enter_context(server)
            except (pytest.skip.Exception, pytest.fail.Exception) as reason:
                raise UnavailableError(str(reason)) from None
        yield port


class Services:
    """The servers that questions need beside them, each started when it is first needed."""

    def __init__(self) -> None:
        self._running = contextlib.ExitStack()
        self._said: dict[str, int | str] = {"": 0}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._running.close()

    def port(self, name: str) -> int | str:
        """Return the port of a service, or the reason why it does not run. No name has port 0."""
        if name not in self._said:
            try:
                self._said[name] = self._running.enter_context(service(name))
            except UnavailableError as error:
                self._said[name] = f"not available: {error}"
        return self._said[name]
