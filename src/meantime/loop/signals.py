"""Signals: handlers that run as callbacks, and a loop that wakes up for every signal.

Two things happen when a signal arrives. The interpreter's C handler notes it and writes a byte to
the wake-up descriptor, at any moment and in any thread. Later, between two byte codes of the main
thread, the Python handler runs.

A handler of `add_signal_handler` is a Python handler that queues the callback. The byte is only
there to wake the loop: without it a signal that arrives just before the loop goes to sleep, or in
another thread, would wait until something else happens. So while a loop runs in the main thread,
the wake-up descriptor is ours, unless the program has set one itself. Then that one stays.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import signal
import socket
import threading
import weakref
from typing import TYPE_CHECKING, Any

from meantime.loop.face import Face

if TYPE_CHECKING:
    from collections.abc import Callable

NO_DESCRIPTOR = -1


class Signals(Face):
    """add_signal_handler, remove_signal_handler, and waking up."""

    # Values are asyncio's handles, made when the handler is added: they keep its context.
    _signal_handlers: dict[int, asyncio.Handle]
    _wakeup_pair: tuple[socket.socket, socket.socket] | None = None
    _owns_wakeup_fd = False

    def _set_up_signals(self) -> None:
        self._signal_handlers = {}
        self._signals_pid = os.getpid()

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override]
        """Call callback(*args) in the loop whenever the signal arrives, in place of its handler.

        Raises:
            TypeError: `callback` is a coroutine or makes coroutines, or `sig` is no int.
            ValueError: there is no such signal.
            RuntimeError: the signal cannot be caught, or this is not the main thread.
        """
        check_signal_callback(callback)
        check_signal(sig)
        self._check_closed()
        handle = asyncio.Handle(callback, args, self, None)
        try:
            signal.signal(sig, SignalRelay(self))
        except ValueError as error:
            raise RuntimeError(
                f"{error}. Add the handler where the main thread runs the loop."
            ) from error
        except OSError as error:
            raise as_uncatchable(error, sig) from error
        # System calls that other threads are in need not fail with EINTR.
        signal.siginterrupt(sig, False)
        self._signal_handlers[sig] = handle

    def remove_signal_handler(self, sig: int) -> bool:
        """Give the signal its default handler back, and tell whether there was one to remove.

        Raises:
            TypeError: `sig` is no int.
            ValueError: there is no such signal.
        """
        check_signal(sig)
        if self._signal_handlers.pop(sig, None) is None:
            return False
        default: Any = signal.SIG_DFL
        if sig == signal.SIGINT:
            default = signal.default_int_handler
        try:
            signal.signal(sig, default)
        except OSError as error:
            raise as_uncatchable(error, sig) from error
        return True

    def _handle_signal(self, sig: int) -> None:
        # Runs between two byte codes of the main thread, while the loop may be anywhere.
        # A forked child has the parent's handlers until it sets its own; the loop is not its own.
        handle = self._signal_handlers.get(sig)
        if handle is None or os.getpid() != self._signals_pid or self.is_closed():
            return
        if handle.cancelled():
            self.remove_signal_handler(sig)
            return
        self.call_soon_threadsafe(handle._run)

    def _claim_wakeup_fd(self) -> None:
        """Make signals wake this loop, where it runs in the main thread and nobody else has."""
        if threading.current_thread() is not threading.main_thread():
            return
        if self._wakeup_pair is None:
            self._open_wakeup_pair()
        assert self._wakeup_pair is not None
        ours = self._wakeup_pair[1].fileno()
        try:
            # A full buffer means that the loop has been woken already.
            theirs = signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
            if theirs != NO_DESCRIPTOR:
                signal.set_wakeup_fd(theirs)
        except ValueError:
            return  # the main thread of a subinterpreter gets no signals
        self._owns_wakeup_fd = theirs == NO_DESCRIPTOR

    def _release_wakeup_fd(self) -> None:
        if not self._owns_wakeup_fd or self._wakeup_pair is None:
            return
        self._owns_wakeup_fd = False
        found = signal.set_wakeup_fd(NO_DESCRIPTOR)
        if found not in (NO_DESCRIPTOR, self._wakeup_pair[1].fileno()):
            # The program set its own while the loop ran.
            signal.set_wakeup_fd(found)

    def _open_wakeup_pair(self) -> None:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._wakeup_pair = reader, writer
        self.add_reader(reader.fileno(), drain, reader)

    def _close_signals(self) -> None:
        # After a fork the handlers belong to the parent's loop; here they do nothing, see above.
        if os.getpid() == self._signals_pid:
            for sig in list(self._signal_handlers):
                self.remove_signal_handler(sig)
        self._signal_handlers.clear()
        pair, self._wakeup_pair = self._wakeup_pair, None
        for end in pair or ():
            end.close()


class SignalRelay:
    """The handler that Python calls. It does not keep the loop alive."""

    def __init__(self, loop: Signals) -> None:
        self.loop = weakref.ref(loop)

    def __call__(self, sig: int, _frame: object) -> None:
        """Queue the loop's callback for this signal."""
        loop = self.loop()
        if loop is not None:
            loop._handle_signal(sig)


def drain(reader: socket.socket) -> None:
    """Take the bytes away. Which signals they were for, the Python handlers know already."""
    try:
        while reader.recv(4096):
            pass
    except (BlockingIOError, InterruptedError):
        pass


def check_signal(sig: object) -> None:
    """Refuse what is no signal's number.

    Raises:
        TypeError: `sig` is no int.
        ValueError: this system has no such signal.
    """
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}. Use a name such as signal.SIGTERM.")
    if sig not in signal.valid_signals():
        raise ValueError(f"invalid signal number {sig}. Use a name such as signal.SIGTERM.")


def check_signal_callback(callback: object) -> None:
    """Refuse what would do nothing when it is called.

    Raises:
        TypeError: `callback` is a coroutine or makes coroutines.
    """
    if inspect.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
        raise TypeError(
            "coroutines cannot be used with add_signal_handler(): nobody would await them. "
            "Pass a plain function; it may call loop.create_task."
        )


def as_uncatchable(error: OSError, sig: int) -> Exception:
    """Return the error that asyncio raises where the kernel says EINVAL, or the error itself."""
    if error.errno != errno.EINVAL:
        return error
    return RuntimeError(
        f"sig {sig} cannot be caught: the kernel keeps it to itself. Use another, such as SIGTERM."
    )
