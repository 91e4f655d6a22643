"""Subprocesses: subprocess_exec, subprocess_shell, and the transport that they return."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import warnings
from typing import TYPE_CHECKING, Any

from meantime.loop.child import collect, logger, start_child
from meantime.loop.exits import ExitWatch
from meantime.loop.face import Face

if TYPE_CHECKING:
    from collections.abc import Callable

    from meantime.loop.child import BytesPopen

PIPE = subprocess.PIPE
STDIN, STDOUT, STDERR = 0, 1, 2


class Processes(Face):
    """Starting programs that the loop speaks to by pipes."""

    async def subprocess_exec(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        program: Any,
        *args: Any,
        stdin: Any = PIPE,
        stdout: Any = PIPE,
        stderr: Any = PIPE,
        universal_newlines: bool = False,
        shell: bool = False,
        bufsize: int = 0,
        encoding: str | None = None,
        errors: str | None = None,
        text: bool | None = None,
        **kwargs: Any,
    ) -> tuple[Any, Any]:
        """Run a program with its arguments, and return (transport, protocol).

        `kwargs` are further options of subprocess.Popen. The loop stands still until the kernel
        has begun to run the program. When this is cancelled, the child is killed.

        Raises:
            ValueError: an option is not for event loops, such as text modes.
            OSError: the program cannot be run.
            subprocess.SubprocessError: preexec_fn failed.
        """
        check_unused(universal_newlines, bufsize, encoding, errors, text)
        if shell:
            raise ValueError("shell must be False: a shell is started by subprocess_shell")
        self._check_closed()
        protocol = protocol_factory()
        what = f"execute program {program!r}"
        if self.get_debug():
            log_start(what, stdin, stdout, stderr)
        transport = await self._make_subprocess_transport(
            protocol, (program, *args), False, stdin, stdout, stderr, bufsize, **kwargs
        )
        if self.get_debug():
            logger.info("%s: %r", what, transport)
        return transport, protocol

    async def subprocess_shell(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        cmd: bytes | str,
        *,
        stdin: Any = PIPE,
        stdout: Any = PIPE,
        stderr: Any = PIPE,
        universal_newlines: bool = False,
        shell: bool = True,
        bufsize: int = 0,
        encoding: str | None = None,
        errors: str | None = None,
        text: bool | None = None,
        **kwargs: Any,
    ) -> tuple[Any, Any]:
        """Have /bin/sh run a command, and return (transport, protocol).

        As subprocess_exec otherwise. What the command names is up to the shell: a program that is
        missing is told by the exit code 127.

        Raises:
            ValueError: `cmd` is no string, or an option is not for event loops.
            OSError: the shell cannot be run.
        """
        if not isinstance(cmd, (bytes, str)):
            raise ValueError(
                f"cmd must be a string, got {cmd!r}. Arguments apart are for subprocess_exec."
            )
        check_unused(universal_newlines, bufsize, encoding, errors, text)
        if not shell:
            raise ValueError("shell must be True: without one, use subprocess_exec")
        self._check_closed()
        protocol = protocol_factory()
        what = f"run shell command {cmd!r}"
        if self.get_debug():
            log_start(what, stdin, stdout, stderr)
        transport = await self._make_subprocess_transport(
            protocol, cmd, True, stdin, stdout, stderr, bufsize, **kwargs
        )
        if self.get_debug():
            logger.info("%s: %r", what, transport)
        return transport, protocol

    async def _make_subprocess_transport(
        self,
        protocol: asyncio.BaseProtocol,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> ProcessTransport:
        child = start_child(
            args,
            shell=shell,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            universal_newlines=False,
            bufsize=bufsize,
            **kwargs,
        )
        transport = ProcessTransport(self, protocol, child, extra)
        try:
            ExitWatch(self, child, transport._process_exited)
        except BaseException:
            with child:  # which waits for its end, as nobody else would
                transport.close()
            raise
        if self.get_debug():
            logger.debug("process %r created: pid %s", args if shell else args[0], child.pid)
        try:
            await transport._connect_pipes()
        except (SystemExit, KeyboardInterrupt):
            transport.close()
            raise
        except BaseException:
            transport.close()
            await transport._wait()
            raise
        return transport


class ProcessTransport(asyncio.SubprocessTransport):
    """A running child process, with a transport for each of its pipes.

    The protocol's methods are called by way of call_soon, in the order in which things happened,
    and connection_made before all others: what happens while the pipes are being connected waits.
    """

    def __init__(
        self,
        loop: Face,
        protocol: Any,
        child: BytesPopen,
        extra: dict[str, Any] | None,
    ) -> None:
        super().__init__({**(extra or {}), "subprocess": child})
        self._loop: Face | None = loop
        self._protocol: Any = protocol
        self._proc: BytesPopen | None = child
        self._pid = child.pid
        self._returncode: int | None = None
        self._closed = False
        self._finished = False
        self._exit_waiters: list[asyncio.Future[int]] = []
        self._waiting_calls: list[tuple[Callable[..., object], tuple[Any, ...]]] | None = []
        files = {STDIN: child.stdin, STDOUT: child.stdout, STDERR: child.stderr}
        self._pipes: dict[int, PipeEnd | None] = {
            fd: None for fd, file in files.items() if file is not None
        }

    # ---- beginning

    async def _connect_pipes(self) -> None:
        """Connect the pipes and call connection_made."""
        loop, child = self._loop, self._proc
        assert loop is not None
        assert child is not None
        assert self._waiting_calls is not None
        try:
            # Through the loop's own methods, which programs and test suites wrap.
            if child.stdin is not None:
                await loop.connect_write_pipe(lambda: PipeEnd(self, STDIN), child.stdin)
            if child.stdout is not None:
                await loop.connect_read_pipe(lambda: ReadPipeEnd(self, STDOUT), child.stdout)
            if child.stderr is not None:
                await loop.connect_read_pipe(lambda: ReadPipeEnd(self, STDERR), child.stderr)
        except BaseException:
            self._give_up()
            raise
        loop.call_soon(self._protocol.connection_made, self)
        for callback, arguments in self._waiting_calls:
            loop.call_soon(callback, *arguments)
        self._waiting_calls = None
        # Whoever started the process goes on after connection_made.
        await asyncio.sleep(0)

    def _give_up(self) -> None:
        """Tell the protocol nothing, as it has not been told of the process yet."""
        self._finished = True
        self._waiting_calls = None

    # ---- what happens to the child

    def _call(self, callback: Callable[..., object], *arguments: Any) -> None:
        assert self._loop is not None
        if self._waiting_calls is not None:
            self._waiting_calls.append((callback, arguments))
        else:
            self._loop.call_soon(callback, *arguments)

    def _pipe_data_received(self, fd: int, data: bytes) -> None:
        if self._finished:
            return
        self._call(self._protocol.pipe_data_received, fd, data)

    def _pipe_connection_lost(self, fd: int, error: Exception | None) -> None:
        if self._finished:
            return
        self._call(self._protocol.pipe_connection_lost, fd, error)
        self._try_finish()

    def _process_exited(self, returncode: int) -> None:
        assert self._loop is not None
        self._returncode = returncode
        if self._loop.get_debug():
            logger.info("%r exited with return code %r", self, returncode)
        if self._finished:
            self._loop.call_soon(self._wake_waiters)
            return
        self._call(self._protocol.process_exited)
        self._try_finish()
        # Last, so that whoever waits finds the protocol told of everything that is known.
        self._call(self._wake_waiters)

    def _try_finish(self) -> None:
        if self._returncode is None:
            return
        if all(end is not None and end.disconnected for end in self._pipes.values()):
            self._finished = True
            self._call(self._connection_lost)

    def _connection_lost(self) -> None:
        try:
            self._protocol.connection_lost(None)
        finally:
            self._loop = None
            self._proc = None
            self._protocol = None

    def _wake_waiters(self) -> None:
        waiters, self._exit_waiters = self._exit_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(self._returncode)  # type: ignore[arg-type]

    async def _wait(self) -> int:
        """Return the exit code as soon as the child has ended, whatever its pipes do."""
        if self._returncode is not None:
            return self._returncode
        assert self._loop is not None
        waiter: asyncio.Future[int] = self._loop.create_future()
        self._exit_waiters.append(waiter)
        return await waiter

    # ---- asyncio.SubprocessTransport

    def get_pid(self) -> int:
        """Return the child's process id."""
        return self._pid

    def get_returncode(self) -> int | None:
        """Return the exit code, negative for a signal, or None while the child runs."""
        return self._returncode

    def get_pipe_transport(self, fd: int) -> Any:
        """Return the transport of the child's descriptor 0, 1 or 2, or None if it has no pipe."""
        end = self._pipes.get(fd)
        return None if end is None else end.pipe

    def send_signal(self, signal: int) -> None:
        """Send a signal to the child; nothing is sent when it has ended.

        Raises:
            ProcessLookupError: it ended, and the protocol was told so.
            PermissionError: it has become another user.
        """
        if self._proc is None:
            raise ProcessLookupError(
                f"process {self._pid} has ended. Look at its returncode before signalling it."
            )
        self._proc.send_signal(signal)

    def terminate(self) -> None:
        """Send SIGTERM to the child, as send_signal does."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the child, as send_signal does."""
        self.send_signal(signal.SIGKILL)

    def set_protocol(self, protocol: Any) -> None:
        """Tell `protocol` from now on, in place of the one before."""
        self._protocol = protocol

    def get_protocol(self) -> Any:
        """Return who is told."""
        return self._protocol

    def is_closing(self) -> bool:
        """Return whether close() was called."""
        return self._closed

    def close(self) -> None:
        """Close the pipes, and kill the child if it still runs."""
        if self._closed:
            return
        self._closed = True
        child = self._proc
        for fd, end in self._pipes.items():
            if end is not None and end.pipe is not None:
                end.pipe.close()
            elif child is not None:
                file = (child.stdin, child.stdout, child.stderr)[fd]
                if file is not None:
                    file.close()
        if child is None or self._returncode is not None or collect(child) is not None:
            return
        if self._loop is not None and self._loop.get_debug():
            logger.warning("Close running child process: kill %r", self)
        try:
            child.kill()
        except (ProcessLookupError, PermissionError):
            pass  # it has just ended, or has become another user

    def __del__(self, warn: Any = warnings.warn) -> None:
        if self._closed:
            return
        warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
        self.close()

    def __repr__(self) -> str:
        parts = [type(self).__name__]
        if self._closed:
            parts.append("closed")
        parts.append(f"pid={self._pid}")
        parts.append("running" if self._returncode is None else f"returncode={self._returncode}")
        for fd, name in ((STDIN, "stdin"), (STDOUT, "stdout"), (STDERR, "stderr")):
            end = self._pipes.get(fd)
            if end is not None:
                parts.append(f"{name}={end.pipe}")
        return f"<{' '.join(parts)}>"


class PipeEnd(asyncio.BaseProtocol):
    """The protocol of one pipe: hands everything on to the process it belongs to."""

    def __init__(self, process: ProcessTransport, fd: int) -> None:
        self.process: ProcessTransport | None = process
        self.fd = fd
        self.pipe: Any = None
        self.disconnected = False
        process._pipes[fd] = self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self.fd} pipe={self.pipe!r}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the pipe's transport."""
        self.pipe = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the process, and let go of it."""
        self.disconnected = True
        process, self.process = self.process, None
        if process is not None:
            process._pipe_connection_lost(self.fd, exc)

    def pause_writing(self) -> None:
        """Tell the process's protocol."""
        if self.process is not None and self.process._protocol is not None:
            self.process._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Tell the process's protocol."""
        if self.process is not None and self.process._protocol is not None:
            self.process._protocol.resume_writing()


class ReadPipeEnd(PipeEnd, asyncio.Protocol):
    """The protocol of a pipe that the child writes to."""

    def data_received(self, data: bytes) -> None:
        """Tell the process."""
        if self.process is not None:
            self.process._pipe_data_received(self.fd, data)


def check_unused(
    universal_newlines: bool,
    bufsize: int,
    encoding: str | None,
    errors: str | None,
    text: bool | None,
) -> None:
    """Refuse what subprocess.Popen knows and an event loop's pipes do not: they carry bytes.

    Raises:
        ValueError: one of them is set.
    """
    advice = "the pipes of an event loop carry bytes. Decode what you read, encode what you write."
    if universal_newlines:
        raise ValueError(f"universal_newlines must be False: {advice}")
    if bufsize != 0:
        raise ValueError("bufsize must be 0: the transports have buffers of their own")
    if text:
        raise ValueError(f"text must be False: {advice}")
    if encoding is not None:
        raise ValueError(f"encoding must be None: {advice}")
    if errors is not None:
        raise ValueError(f"errors must be None: {advice}")


def log_start(what: str, stdin: Any, stdout: Any, stderr: Any) -> None:
    """Log what is about to be started. Arguments stay out of it: they may hold passwords."""
    parts = [what]
    if stdin is not None:
        parts.append(f"stdin={describe(stdin)}")
    if stdout is not None and stderr == subprocess.STDOUT:
        parts.append(f"stdout=stderr={describe(stdout)}")
    else:
        if stdout is not None:
            parts.append(f"stdout={describe(stdout)}")
        if stderr is not None:
            parts.append(f"stderr={describe(stderr)}")
    logger.debug(" ".join(parts))


def describe(stream: Any) -> str:
    """Return what a standard stream is, for the log."""
    if stream == PIPE:
        return "<pipe>"
    if stream == subprocess.STDOUT:
        return "<stdout>"
    return repr(stream)
