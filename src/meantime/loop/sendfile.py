"""sendfile and sock_sendfile: the kernel sends a file, and no byte of it passes through Python.

sendfile(2) waits for the disk when a part of the file is not in memory, and no flag of it says "do
not". asyncio calls it all the same, for the whole file at once, and so a cold disk stops the loop.
Here each call is for a bounded part, which is asked for first: preadv2(2) with RWF_NOWAIT says
whether its pages are in memory. If they are not, a thread of the default executor reads them, which
brings them there, while the loop goes on. The thread only reads, so a call that is cancelled, or
whose connection is lost, leaves nothing behind that could send.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from asyncio import constants
from asyncio.exceptions import SendfileNotAvailableError
from typing import TYPE_CHECKING, Any

from meantime._core.transport import StreamTransport
from meantime.loop.face import Face
from meantime.loop.tls import check_plain_socket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    # Sends from (descriptor, offset, size), and returns how much; None when there is no room.
    Send = Callable[[int, int, int], "int | None"]

# What one call sends at most. The loop has its turn in between, and a peer that reads as fast as
# the kernel sends cannot hold it.
PART_BYTES = 256 * 1024
# How far apart the pages are that are asked for. The kernel reads a disk in larger pieces.
PROBE_BYTES = 64 * 1024
# Some C libraries lack the call that takes it.
NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)

Mode = constants._SendfileMode


class SendingFiles(Face):
    """Files sent over connections and sockets, by the kernel where it can."""

    async def sendfile(
        self,
        transport: Any,
        file: Any,
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool = True,
    ) -> int:
        """Send a file over `transport`, and return how many bytes were sent.

        What was written before goes first. Until the file is sent, the protocol is given no data,
        and on plain transports writing is an error.

        Args:
            transport: a stream transport.
            file: a file open in binary mode.
            offset: where in the file to begin, in bytes.
            count: how many bytes to send at most; None means until the file ends.
            fallback: whether to read the file and write it where the kernel cannot send it, as
                over TLS.

        When this fails or is cancelled, the file's position says how much was sent; where the file
        was read and written, how much was given to the transport.

        Raises:
            RuntimeError: the transport is closing, or cannot send files, or only by `fallback`.
            ConnectionError: the connection was closed or lost in the middle.
            SendfileNotAvailableError: the kernel cannot send it, and `fallback` is False.
            ValueError: the file is in text mode, or `offset` or `count` make no sense.
        """
        if transport.is_closing():
            raise RuntimeError(
                f"Transport is closing, so it sends no file: {transport!r}. "
                "Call sendfile before close()."
            )
        mode = getattr(transport, "_sendfile_compatible", Mode.UNSUPPORTED)
        if mode is Mode.UNSUPPORTED:
            raise RuntimeError(
                f"sendfile is not supported for transport {transport!r}: it is no stream of bytes "
                "in both directions. Read the file and write it."
            )
        check_part(file, offset, count)
        if mode is Mode.TRY_NATIVE:
            try:
                return await self._sendfile_native(transport, file, offset, count)
            except SendfileNotAvailableError:
                if not fallback:
                    raise
        elif not fallback:
            raise RuntimeError(
                "fallback is disabled and native sendfile is not supported for transport "
                f"{transport!r}: the kernel cannot do what this transport does to the bytes. "
                "Leave out fallback=False."
            )
        return await self._sendfile_fallback(transport, file, offset, count)

    async def _sendfile_native(
        self, transport: Any, file: Any, offset: int, count: int | None
    ) -> int:
        if not isinstance(transport, StreamTransport):
            raise SendfileNotAvailableError(
                f"native sendfile is not supported for {transport!r}, which is not of this loop. "
                "Leave out fallback=False."
            )
        check_regular(file)
        was_reading = transport.is_reading()
        transport._begin_file()
        transport.pause_reading()
        try:
            return await self._send_parts(
                transport._send_file, transport._wait_for_room, file, offset, count
            )
        finally:
            transport._end_file()
            if was_reading:
                transport.resume_reading()

    async def _sendfile_fallback(
        self, transport: Any, file: Any, offset: int, count: int | None
    ) -> int:
        stand_in = StandIn(self, transport)
        try:

            async def write(data: bytes | bytearray) -> None:
                await stand_in.room()
                transport.write(data)

            return await self._copy_parts(write, file, offset, count)
        finally:
            stand_in.leave()

    async def sock_sendfile(
        self,
        sock: socket.socket,
        file: Any,
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool | None = True,
    ) -> int:
        """Send a file over a non-blocking stream socket, and return how many bytes were sent.

        The arguments are those of `sendfile`. When this fails or is cancelled, the file's position
        says how much was sent; where the file was read and written, how many whole parts.

        Raises:
            SendfileNotAvailableError: the kernel cannot send it, and `fallback` is False.
            ValueError: the socket is of another type, or, in debug mode, a blocking one; or the
                file is in text mode, or `offset` or `count` make no sense.
            OSError: the connection was lost, or the file could not be read.
        """
        self._check_non_blocking(sock)
        check_plain_socket(sock)
        if sock.type != socket.SOCK_STREAM:
            raise ValueError(
                f"only SOCK_STREAM type sockets are supported, got {sock!r}. "
                "A file has no borders that datagrams could follow."
            )
        check_part(file, offset, count)
        try:
            return await self._sock_sendfile_native(sock, file, offset, count)
        except SendfileNotAvailableError:
            if not fallback:
                raise
        return await self._copy_parts(
            lambda data: self.sock_sendall(sock, data), file, offset, count
        )

    async def _sock_sendfile_native(
        self, sock: socket.socket, file: Any, offset: int, count: int | None
    ) -> int:
        check_regular(file)
        if sock.gettimeout() is None:
            raise SendfileNotAvailableError(
                "native sendfile would block the loop: the socket is a blocking one. "
                "Call sock.setblocking(False), or leave out fallback=False."
            )
        self._check_free(sock.fileno())

        def send(file_fd: int, position: int, size: int) -> int | None:
            try:
                return os.sendfile(sock.fileno(), file_fd, position, size)
            except (BlockingIOError, InterruptedError):
                return None

        def wait() -> asyncio.Future[None]:
            return self._wait_writable(sock.fileno())

        return await self._send_parts(send, wait, file, offset, count)

    async def _send_parts(
        self,
        send: Send,
        wait: Callable[[], Awaitable[None]],
        file: Any,
        offset: int,
        count: int | None,
    ) -> int:
        """Send a file part by part, each once it is in memory."""
        sent, is_complete = 0, False
        try:
            while count is None or sent < count:
                size = PART_BYTES if count is None else min(PART_BYTES, count - sent)
                # Asked for each time: a file that was closed meanwhile has given its number back,
                # perhaps to another file.
                if not is_in_memory(file.fileno(), offset + sent, size):
                    await self.run_in_executor(
                        None, bring_to_memory, file.fileno(), offset + sent, size
                    )
                part = send(file.fileno(), offset + sent, size)
                if part is None:
                    await wait()
                elif part == 0:
                    break
                else:
                    sent += part
                    if part == size:
                        await asyncio.sleep(0)
            is_complete = True
        except OSError as error:
            if sent == 0 and not isinstance(error, ConnectionError):
                raise SendfileNotAvailableError(
                    f"os.sendfile call failed: {error}. Leave out fallback=False."
                ) from error
            if error.errno == errno.ENOTCONN:
                raise ConnectionError(error.errno, "socket is not connected") from error
            raise
        finally:
            if sent or is_complete:
                file.seek(offset + sent)
        return sent

    async def _copy_parts(
        self,
        write: Callable[[bytes | bytearray], Awaitable[None]],
        file: Any,
        offset: int,
        count: int | None,
    ) -> int:
        """Read a file part by part, in threads where it has to wait, and write each part."""
        can_seek = is_seekable(file)
        reads_anywhere = can_seek and is_regular(file)
        if can_seek:
            file.seek(offset)
        sent = 0
        try:
            while count is None or sent < count:
                size = PART_BYTES if count is None else min(PART_BYTES, count - sent)
                data: bytes | bytearray | None = None
                if reads_anywhere:
                    data = read_from_memory(file.fileno(), offset + sent, size)
                    if data is None:
                        data = await self.run_in_executor(
                            None, os.pread, file.fileno(), size, offset + sent
                        )
                else:
                    data = await self.run_in_executor(None, file.read, size)
                if not data:
                    break
                await write(data)
                sent += len(data)
        finally:
            if sent and can_seek:
                file.seek(offset + sent)
        return sent


class StandIn(asyncio.Protocol):
    """Takes the place of a transport's protocol while a file is written, to hear of its flow.

    The protocol hears of it as well, so it knows where it stands when it is back.
    """

    def __init__(self, loop: Any, transport: Any) -> None:
        self.loop = loop
        self.transport = transport
        self.protocol = transport.get_protocol()
        self.was_reading = transport.is_reading()
        self.is_paused = self.is_lost = False
        self.waiter: asyncio.Future[None] | None = None
        transport.pause_reading()
        transport.set_protocol(self)

    async def room(self) -> None:
        """Wait until the transport takes more.

        Raises:
            ConnectionError: it takes nothing more at all.
        """
        while True:
            if self.transport.is_closing():
                raise ConnectionError(
                    "Connection closed by peer, or by this side, while a file was being sent. "
                    "Send the rest over a new connection."
                )
            _, high = self.transport.get_write_buffer_limits()
            # Above the mark it will say when to go on, even if it told somebody else to pause.
            if not self.is_paused and self.transport.get_write_buffer_size() <= high:
                return
            waiter = self.waiter = self.loop.create_future()
            try:
                await waiter
            finally:
                self.waiter = None

    def leave(self) -> None:
        """Give the protocol its place back."""
        if self.is_lost:
            return
        self.transport.set_protocol(self.protocol)
        if self.was_reading:
            self.transport.resume_reading()

    def wake(self) -> None:
        """Let whoever waits look again."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def pause_writing(self) -> None:
        """Note that the transport has enough, and pass it on."""
        self.is_paused = True
        self.protocol.pause_writing()

    def resume_writing(self) -> None:
        """Note that the transport takes more, and pass it on."""
        self.is_paused = False
        self.wake()
        self.protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, and pass it on."""
        self.is_lost = True
        self.wake()
        self.protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what comes although reading is paused: some transports have read it already."""
        self.protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on that the peer has ended its side."""
        keep_open: bool | None = self.protocol.eof_received()
        return keep_open


def check_part(file: Any, offset: object, count: object) -> None:
    """Refuse what is no part of a binary file.

    Raises:
        ValueError: the file is in text mode, or a number is out of range.
        TypeError: a number is none.
    """
    if "b" not in getattr(file, "mode", "b"):
        raise ValueError(
            f"file should be opened in binary mode, got {file!r}: text has no fixed bytes. "
            "Open it with mode 'rb'."
        )
    what = "Leave it out to send the whole rest of the file."
    if count is not None:
        if not isinstance(count, int):
            raise TypeError(f"count must be a positive integer (got {count!r}). {what}")
        if count <= 0:
            raise ValueError(f"count must be a positive integer (got {count!r}). {what}")
    what = "It counts bytes from the beginning of the file."
    if not isinstance(offset, int):
        raise TypeError(f"offset must be a non-negative integer (got {offset!r}). {what}")
    if offset < 0:
        raise ValueError(f"offset must be a non-negative integer (got {offset!r}). {what}")


def check_regular(file: Any) -> None:
    """Refuse what has no pages that the kernel could send.

    Raises:
        SendfileNotAvailableError: `file` is a pipe, a buffer in memory, or the like.
    """
    if not is_regular(file):
        raise SendfileNotAvailableError(
            f"not a regular file, so the kernel cannot send it: {file!r}. Leave out fallback=False."
        )


def is_regular(file: Any) -> bool:
    """Tell whether `file` is a file on a disk, or the like."""
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError):
        return False


def is_seekable(file: Any) -> bool:
    """Tell whether `file` has a position that can be set."""
    seekable = getattr(file, "seekable", None)
    return bool(seekable()) if seekable is not None else hasattr(file, "seek")


def is_in_memory(fd: int, offset: int, size: int) -> bool:
    """Tell whether reading this part of a file would not wait for a disk, as far as one can ask."""
    if NO_WAIT is None:
        return False
    one = bytearray(1)
    last = offset + size - 1
    for position in (*range(offset, last, PROBE_BYTES), last):
        try:
            if os.preadv(fd, [one], position, NO_WAIT) == 0:
                return True  # the file ends before
        except OSError:
            # BlockingIOError: it is not there. Anything else: this kind of file cannot be asked.
            return False
    return True


def bring_to_memory(fd: int, offset: int, size: int) -> None:
    """Read a part of a file and throw it away, so that its pages are in memory."""
    try:
        os.pread(fd, size, offset)
    except OSError:
        pass  # whoever sends it meets the error again, and can tell


def read_from_memory(fd: int, offset: int, size: int) -> bytearray | None:
    """Return a part of a file, or None where one would have to wait for a disk."""
    if NO_WAIT is None:
        return None
    data = bytearray(size)
    try:
        count = os.preadv(fd, [data], offset, NO_WAIT)
    except OSError:
        return None
    del data[count:]
    return data
