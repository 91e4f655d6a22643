"""sock_connect, and what the socket methods check first. The other sock_* are compiled."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING

from meantime.loop.face import Face
from meantime.loop.tls import check_plain_socket

if TYPE_CHECKING:
    from meantime.loop.face import Address

INTERNET = (socket.AF_INET, socket.AF_INET6)

# How long to wait for a place in the backlog of a Unix server before trying again: at first, and
# at most.
FULL_DELAY_S = 0.001
FULL_DELAY_S_MAX = 0.05


class SocketCalls(Face):
    """Connecting a socket that the program made itself."""

    async def sock_connect(self, sock: socket.socket, address: Address) -> None:
        """Connect a non-blocking socket; names are looked up, paths are taken as they are.

        Cancelling stops waiting. The kernel may go on connecting, so close the socket then.

        Raises:
            ValueError: in debug mode, the socket is a blocking one.
            OSError: the connection was refused, or failed in another way.
        """
        check_plain_socket(sock)
        self._check_non_blocking(sock)
        if sock.family in INTERNET:
            infos = await self._resolve(
                address, family=sock.family, kind=sock.type, proto=sock.proto
            )
            address = infos[0][4]
        fd = sock.fileno()
        delay_s = FULL_DELAY_S
        while True:
            try:
                sock.connect(address)
            except (BlockingIOError, InterruptedError) as error:
                # After EINTR, too, the kernel goes on connecting by itself: calling connect again
                # would only say EALREADY.
                self._check_free(fd)
                if error.errno != errno.EAGAIN or sock.family != socket.AF_UNIX:
                    break
            else:
                return
            # A Unix server whose backlog is full. The kernel has not begun to connect, and tells
            # nobody when there is room.
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, FULL_DELAY_S_MAX)
        await self._wait_writable(fd)
        check_connected(sock, address)

    def _check_non_blocking(self, sock: socket.socket) -> None:
        if self.get_debug() and sock.gettimeout() != 0:
            raise ValueError(
                "the socket must be non-blocking, or one slow peer stops the whole loop. "
                "Call sock.setblocking(False) first."
            )


def check_connected(sock: socket.socket, address: Address) -> None:
    """Ask the kernel how the connection attempt ended.

    Raises:
        OSError: it failed; the class is that of its errno, such as ConnectionRefusedError.
    """
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error != 0:
        raise OSError(error, f"Connect call failed {address}: {os.strerror(error)}")
