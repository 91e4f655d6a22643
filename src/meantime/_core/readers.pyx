"""Readers and writers: descriptors that the user owns and wants to hear about.

A callback of `add_reader` is told in every turn in which there is something to read, as asyncio
promises. Somebody who waits once (the `sock_*` methods) is told once, which needs nothing to be
taken back afterwards.
"""
import os

from cpython.object cimport PyObject
from libc.errno cimport EPERM, errno

from meantime._core.kernel cimport (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLPRI,
    POLLRDHUP,
    S_ISDIR,
    S_ISREG,
    fstat,
    stat_t,
)
from meantime._core.loop cimport LoopWatcher
from meantime._core.poller.contract cimport LEVEL, ONCE, Watcher
from meantime._core.ready cimport Handle
from meantime._core.schedule cimport SchedulingLoop

cdef unsigned READABLE = POLLIN | POLLPRI | POLLERR | POLLHUP | POLLRDHUP
cdef unsigned WRITABLE = POLLOUT | POLLERR | POLLHUP


cdef int descriptor_of(object fileobj) except -1:
    """Return the descriptor of an int or of an object with fileno()."""
    cdef object fd
    if isinstance(fileobj, int):
        # A plain one: a subclass may compare as it likes.
        fd = int.__index__(fileobj)
    else:
        try:
            fd = int(fileobj.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(
                f"Invalid file object: {fileobj!r}. "
                "Give a descriptor, or an open object that has a fileno()."
            ) from None
    if fd < 0:
        raise ValueError(
            f"Invalid file descriptor: {fd}. It is negative, as that of a closed socket is."
        )
    return fd


cdef int check_pollable(int fd) except -1:
    """Refuse what epoll refuses, on every poller: a closed descriptor, a file, a folder."""
    cdef stat_t status
    if fstat(fd, &status) < 0:
        raise OSError(errno, f"{os.strerror(errno)}: descriptor {fd}")
    if S_ISREG(status.st_mode) or S_ISDIR(status.st_mode):
        raise PermissionError(
            EPERM,
            f"descriptor {fd} is a file or a folder, and those are always ready. "
            "Read it in a thread: await asyncio.to_thread(file.read)",
        )
    return 0


cdef bint wake(list waiters) except -1:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    return True


cdef class DescriptorWatcher(LoopWatcher):
    cdef int on_ready(self, unsigned events) except -1:
        cdef list waiters
        cdef Handle handle
        if events & READABLE and self.read_waiters is not None:
            waiters = self.read_waiters
            self.read_waiters = None
            wake(waiters)
        if events & WRITABLE and self.write_waiters is not None:
            waiters = self.write_waiters
            self.write_waiters = None
            wake(waiters)
        if not self.has_level():
            # It was armed for one event, and that has come.
            self.armed_for = 0
        self.settle()
        # Callbacks run here and now, as the descriptor's part of the turn. Queued for the next
        # one, they would come after its look at the descriptor, which would find it ready again.
        handle = self.reader
        if events & READABLE and handle is not None:
            self.loop.run_one(handle)
        handle = self.writer
        if events & WRITABLE and handle is not None:
            self.loop.run_one(handle)
        return 0

    cdef bint has_level(self) noexcept:
        return self.reader is not None or self.writer is not None

    cdef int settle(self) except -1:
        """Ask the poller for what is wanted now."""
        cdef unsigned wanted = 0
        if self.reader is not None or self.read_waiters is not None:
            wanted |= POLLIN
        if self.writer is not None or self.write_waiters is not None:
            wanted |= POLLOUT
        # The lowest bit but three is free in POLL*, and tells a level from a single event.
        cdef unsigned key = wanted | (0x10000 if self.has_level() else 0)
        if wanted == 0:
            self.armed_for = 0
            return self.loop._poller.unwatch(self)
        if key == self.armed_for:
            return 0
        self.armed_for = 0
        self.loop._poller.watch(self, self.fd, wanted, LEVEL if self.has_level() else ONCE)
        self.armed_for = key
        return 0


cdef class ReaderLoop(SchedulingLoop):
    """Adds `add_reader`, `add_writer` and waiting for a descriptor to the loop."""

    def add_reader(self, fd, callback, *args):
        """Call `callback(*args)` in each turn in which `fd` can be read.

        Takes the place of an earlier reader of the same descriptor.

        Raises:
            ValueError: `fd` is neither a descriptor nor has one.
            RuntimeError: a transport uses the descriptor.
            PermissionError: it is a file or a folder.
        """
        self.set_callback(descriptor_of(fd), False, callback, args)

    def add_writer(self, fd, callback, *args):
        """Call `callback(*args)` in each turn in which `fd` can be written to.

        Takes the place of an earlier writer of the same descriptor. Raises what `add_reader` does.
        """
        self.set_callback(descriptor_of(fd), True, callback, args)

    def remove_reader(self, fd):
        """Stop calling the reader of `fd`. Returns whether there was one."""
        return self.drop_callback(descriptor_of(fd), False)

    def remove_writer(self, fd):
        """Stop calling the writer of `fd`. Returns whether there was one."""
        return self.drop_callback(descriptor_of(fd), True)

    cdef int set_callback(self, int fd, bint to_write, object callback, tuple args) except -1:
        cdef DescriptorWatcher watcher
        cdef Handle earlier
        cdef Handle handle = self.callback_handle(
            callback, args, "add_writer" if to_write else "add_reader")
        self.check_free(fd)
        check_pollable(fd)
        watcher = self.watcher_for(fd)
        if to_write:
            earlier = watcher.writer
            watcher.writer = handle
        else:
            earlier = watcher.reader
            watcher.reader = handle
        # Asked for anew even if nothing seems to change: the descriptor may have been closed and
        # its number given out again.
        watcher.armed_for = 0
        watcher.settle()
        if earlier is not None:
            earlier.cancel()
        return 0

    cdef bint drop_callback(self, int fd, bint to_write) except -1:
        cdef DescriptorWatcher watcher
        cdef Handle earlier
        self.check_free(fd)
        if self.closed:
            return False
        found = self._poller.watcher_of(fd)
        if not isinstance(found, DescriptorWatcher):
            return False
        watcher = found
        if to_write:
            earlier = watcher.writer
            watcher.writer = None
        else:
            earlier = watcher.reader
            watcher.reader = None
        if earlier is None:
            return False
        watcher.settle()
        earlier.cancel()
        return True

    def _wait_readable(self, int fd):
        """Return a Future that is done when `fd` can be read. Cancelling it stops the watch."""
        return self._waiter_that_cleans_up(fd, False)

    def _wait_writable(self, int fd):
        """Return a Future that is done when `fd` can be written to. Cancelling stops the watch."""
        return self._waiter_that_cleans_up(fd, True)

    def _readable_once(self, int fd):
        """Return a Future as _wait_readable does. Whoever gives up says _forget_readable."""
        return self.wait_for(fd, False)

    def _forget_readable(self, int fd, waiter):
        """Stop the watch of a Future of _readable_once. Harmless when it is over."""
        self.forget_waiter(fd, waiter)

    def _waiter_that_cleans_up(self, int fd, bint to_write):
        waiter = self.wait_for(fd, to_write)
        waiter.add_done_callback(lambda done: self._forget_cancelled(fd, done))
        return waiter

    def _forget_cancelled(self, int fd, waiter):
        if waiter.cancelled():
            self.forget_waiter(fd, waiter)

    def _check_free(self, fd):
        self.check_free(descriptor_of(fd))

    cdef DescriptorWatcher watcher_for(self, int fd):
        watcher = self._poller.watcher_of(fd)
        if isinstance(watcher, DescriptorWatcher):
            return watcher
        cdef DescriptorWatcher made = DescriptorWatcher.__new__(DescriptorWatcher)
        made.loop = self
        made.fd = fd
        return made

    cdef object wait_for(self, int fd, bint to_write):
        """Return a Future that is done when `fd` is ready. Whoever gives up says forget_waiter."""
        cdef DescriptorWatcher watcher
        self.check_open()
        self.check_free(fd)
        watcher = self.watcher_for(fd)
        waiter = self.create_future()
        if to_write:
            if watcher.write_waiters is None:
                watcher.write_waiters = []
            watcher.write_waiters.append(waiter)
        else:
            if watcher.read_waiters is None:
                watcher.read_waiters = []
            watcher.read_waiters.append(waiter)
        # As in set_callback: whoever waits already may wait for a descriptor that was closed.
        watcher.armed_for = 0
        watcher.settle()
        return waiter

    cdef int forget_waiter(self, int fd, object waiter) except -1:
        cdef DescriptorWatcher watcher
        found = self._poller.watcher_of(fd)
        if not isinstance(found, DescriptorWatcher):
            return 0
        watcher = found
        if watcher.read_waiters is not None and waiter in watcher.read_waiters:
            watcher.read_waiters.remove(waiter)
            if not watcher.read_waiters:
                watcher.read_waiters = None
        elif watcher.write_waiters is not None and waiter in watcher.write_waiters:
            watcher.write_waiters.remove(waiter)
            if not watcher.write_waiters:
                watcher.write_waiters = None
        return watcher.settle()

    cdef int check_free(self, int fd) except -1:
        cdef Watcher watcher
        watcher = self._poller.watcher_of(fd)
        if watcher is None or isinstance(watcher, DescriptorWatcher):
            return 0
        if isinstance(watcher, LoopWatcher):
            raise RuntimeError(
                f"File descriptor {fd!r} is used by transport {watcher!r}. "
                "Use the transport's methods, or a descriptor of your own."
            )
        raise RuntimeError(f"File descriptor {fd!r} belongs to the loop itself")

    cdef Handle callback_handle(self, object callback, tuple args, str method):
        cdef Handle handle = Handle.__new__(Handle)
        self.fill(handle, method, <PyObject *>callback, NULL, 0, NULL)
        handle.set_arguments(args)
        return handle
