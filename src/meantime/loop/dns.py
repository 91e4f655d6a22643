"""Names and addresses: getaddrinfo and getnameinfo without blocking the loop.

The C library's resolver blocks, so names are looked up in threads. They are threads of their own:
in asyncio a slow name server fills the default executor, and then file reads that the program sent
there wait for it. Literal addresses take no thread at all.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import socket
from typing import TYPE_CHECKING, Any

from meantime.loop import addresses
from meantime.loop.face import Face

if TYPE_CHECKING:
    from meantime.loop.face import Address, AddressInfo

logger = logging.getLogger("asyncio")

# A crawler looks up many names at once and each blocks a thread. They are made only when needed.
RESOLVER_THREADS_MAX = 32


class Resolving(Face):
    """getaddrinfo and getnameinfo, and the threads that they need."""

    _resolver: concurrent.futures.ThreadPoolExecutor | None = None

    async def getaddrinfo(  # type: ignore[override]  # typeshed narrows the result by IPv6 or not
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - asyncio's name
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        """Return what socket.getaddrinfo returns.

        Raises:
            socket.gaierror: the name is unknown, or the name server does not answer.
        """
        self._check_closed()
        question = (host, port, family, type, proto, flags)
        known = addresses.lookup_numeric(question)
        if known is not None:
            return known
        began = self.time()
        found: list[AddressInfo] = await self._in_resolver(addresses.ask_resolver, question)
        if self.get_debug():
            self._log_lookup(f"{host!r}:{port!r}", self.time() - began, found)
        return found

    async def getnameinfo(self, sockaddr: Address, flags: int = 0) -> tuple[str, str]:
        """Return the host's name and the service's name of an address.

        Raises:
            socket.gaierror: there is no name and `flags` demand one, or nobody answers.
        """
        found: tuple[str, str] = await self._in_resolver(socket.getnameinfo, sockaddr, flags)
        return found

    async def _resolve(
        self,
        address: Address,
        *,
        family: int = 0,
        kind: int = socket.SOCK_STREAM,
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        """Return the infos for an address; literal ones never reach getaddrinfo."""
        known = addresses.read_literal(address, family, kind, proto)
        if known is not None:
            return [known]
        host, port = address[:2]
        infos = await self.getaddrinfo(
            host, port, family=family, type=kind, proto=proto, flags=flags
        )
        if not infos:
            raise OSError(
                f"getaddrinfo({host!r}) returned empty list: the name has no address of family "
                f"{family}. Check the name, or leave out family=."
            )
        return infos

    async def _in_resolver(self, function: Any, *args: Any) -> Any:
        if self._resolver is None:
            self._resolver = concurrent.futures.ThreadPoolExecutor(
                RESOLVER_THREADS_MAX, thread_name_prefix="meantime-dns"
            )
        return await asyncio.wrap_future(self._resolver.submit(function, *args), loop=self)

    def _drop_resolver(self) -> None:
        resolver, self._resolver = self._resolver, None
        if resolver is not None:
            resolver.shutdown(wait=False, cancel_futures=True)

    def _log_lookup(self, question: str, took_s: float, found: list[AddressInfo]) -> None:
        level = logging.INFO if took_s >= self.slow_callback_duration else logging.DEBUG
        logger.log(level, "Getting address info %s took %.3fms: %r", question, took_s * 1e3, found)
