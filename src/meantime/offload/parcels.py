"""Parcels: an object on its way to another process, as a pickle and the large buffers in it.

A small one fits into a packet. A larger one goes into memory that has no name (memfd_create) and
whose descriptor is sent along, so that it is copied once, by the sender, and nothing of it can be
left behind: the kernel frees it with the last process that has it open.

Parent and worker both use this file. It imports nothing of meantime's but its neighbours.
"""

from __future__ import annotations

import mmap
import os
import pickle
import struct
import sys
import threading
from types import SimpleNamespace
from typing import Any

from .pickles import PROTOCOL, REFUSALS, dump

INLINE_BYTES_MAX = 60_000
"""A larger parcel travels through shared memory. A packet must fit into a socket's buffer."""

BUFFER_BYTES_MIN = 16_384
"""Smaller buffers stay in the pickle: a place of its own costs more than a copy."""

MAPPED_BYTES_MIN = 1_048_576
"""What is smaller is copied out of the shared memory: up to Python 3.12 a mapping that lives keeps
a descriptor open, and a program may keep many results."""

SLOW_BYTES_MIN = 524_288
"""Copying this much takes long enough (a tenth of a millisecond) to be left to a thread."""

ALIGNMENT_BYTES = 64
PIECES_MAX = 1000  # the kernel takes 1,024 of them at once
LENGTH = struct.Struct("<Q")
SHAPE = struct.Struct("<QI")

CAN_MAP_WITHOUT_DESCRIPTOR = sys.version_info >= (3, 13)


def aligned(offset: int) -> int:
    """Return the next offset at which a buffer may begin."""
    return -(-offset // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


class Parcel:
    """A pickled object: the stream in pieces, and the large buffers that are not in it."""

    __slots__ = ("buffers", "pieces", "stream_bytes")

    def __init__(self, value: Any, are_buffers_apart: bool = True, is_quick: bool = False) -> None:
        """Pickle an object.

        Large bytes are referred to and not copied, and so are large buffers unless they are to be
        in the stream. With `is_quick`, nothing in it is known to be large.

        Raises:
            pickle.PicklingError, or what the object's own methods raise: it cannot be pickled.
        """
        self.pieces: list[Any] = []
        self.buffers: list[memoryview] = []
        if (is_quick or is_small(value)) and self.take_quickly(value):
            return
        dump(value, self.pieces, self.buffers, self.take_buffer if are_buffers_apart else None)
        self.stream_bytes = sum(map(len, self.pieces))

    def take_quickly(self, value: Any) -> bool:
        """Pickle what is small in half the time of the longer way. Returns whether that will do."""
        try:
            data = pickle.dumps(value, PROTOCOL)
        except REFUSALS:
            return False
        if b"__main__" in data:
            return False
        self.pieces.append(data)
        self.stream_bytes = len(data)
        return True

    def take_buffer(self, buffer: pickle.PickleBuffer) -> bool:
        """Keep a buffer out of the stream if it is large. Returns whether it stays in."""
        try:
            view = buffer.raw()
        except BufferError:  # it has gaps
            return True
        if view.nbytes < BUFFER_BYTES_MIN:
            return True
        self.buffers.append(view)
        return False

    def is_inline(self) -> bool:
        """Tell whether it fits into a packet."""
        return not self.buffers and self.stream_bytes <= INLINE_BYTES_MAX

    def size_bytes(self) -> int:
        """Return about how many bytes have to be copied."""
        return self.stream_bytes + sum(view.nbytes for view in self.buffers)

    def write(self) -> Shared:
        """Copy it into new shared memory.

        Raises:
            OSError: there is no memory or no descriptor left.
        """
        fd = os.memfd_create("meantime-offload", os.MFD_CLOEXEC)
        shared = Shared(fd, SHAPE.pack(self.stream_bytes, len(self.buffers)))
        self.write_into(fd)
        return shared

    def write_into(self, fd: int) -> None:
        """Write the stream, the lengths of the buffers, and each buffer where it may begin."""
        write_all(fd, self.pieces)
        end = self.stream_bytes
        if self.buffers:
            lengths = b"".join(LENGTH.pack(view.nbytes) for view in self.buffers)
            write_all(fd, [bytes(aligned(end) - end), lengths])
            end = aligned(end) + len(lengths)
        for view in self.buffers:
            write_all(fd, [bytes(aligned(end) - end), view])
            end = aligned(end) + view.nbytes


SMALL_KINDS = frozenset({int, float, complex, bool, type(None)})
SMALL_ITEMS_MAX = 8
SMALL_LENGTH_MAX = 1_000


def is_small(value: Any) -> bool:
    """Tell whether something is small, and so plain that it holds no function, class or buffer."""
    kind = type(value)
    if kind in SMALL_KINDS:
        return True
    if kind is str or kind is bytes:
        return len(value) <= SMALL_LENGTH_MAX
    return kind is tuple and len(value) <= SMALL_ITEMS_MAX and all(map(is_small, value))


class Shared:
    """Shared memory with a parcel in it: the descriptor, and the shape to send along.

    It closes the descriptor itself when nobody has it any more: a loop may be closed before it is
    handed over.
    """

    __slots__ = ("fd", "shape")

    def __init__(self, fd: int, shape: bytes) -> None:
        self.fd = fd
        self.shape = shape

    def close(self) -> None:
        """Close the descriptor."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def __del__(self) -> None:
        self.close()


def write_all(fd: int, pieces: list[Any]) -> None:
    """Write pieces one after the other. The GIL is free while the kernel copies."""
    views = [memoryview(piece) for piece in pieces]
    while views:
        written = os.writev(fd, views[:PIECES_MAX])
        done = 0
        while done < len(views) and written >= views[done].nbytes:
            written -= views[done].nbytes
            done += 1
        del views[:done]
        if views and written:
            views[0] = views[0][written:]


def load_shared(fd: int, shape: bytes) -> Any:
    """Return the object that lies in shared memory, and close the descriptor.

    Large arrays lie there still: they are not copied. All else is copied out.
    """
    with open(fd, "rb") as file:
        stream_bytes, buffer_count = SHAPE.unpack(shape)
        buffers = find_buffers(fd, stream_bytes, buffer_count) if buffer_count else []
        file.seek(0)  # the position is the sender's, too
        # Reading from the file lets go of the GIL while large bytes are copied.
        return pickle.Unpickler(file, buffers=buffers).load()


def find_buffers(fd: int, stream_bytes: int, count: int) -> list[Any]:
    """Return the buffers: those that are large as views of a mapping."""
    at = aligned(stream_bytes)
    table = os.pread(fd, LENGTH.size * count, at)
    lengths = [length for (length,) in LENGTH.iter_unpack(table)]
    at += len(table)
    mapping: memoryview | None = None
    if max(lengths) >= MAPPED_BYTES_MIN:
        mapping = memoryview(map_whole(fd))
    buffers: list[Any] = []
    for length in lengths:
        at = aligned(at)
        if mapping is not None and length >= MAPPED_BYTES_MIN:
            buffers.append(mapping[at : at + length])
        else:
            buffer = bytearray(length)
            os.preadv(fd, [buffer], at)
            buffers.append(buffer)
        at += length
    return buffers


def map_whole(fd: int) -> mmap.mmap:
    """Map shared memory for as long as somebody uses a part of it."""
    size_bytes = os.fstat(fd).st_size
    if CAN_MAP_WITHOUT_DESCRIPTOR:
        return mmap.mmap(fd, size_bytes, trackfd=False)  # type: ignore[call-arg]
    return mmap.mmap(fd, size_bytes)


def in_thread(function: Any, done: Any) -> None:
    """Call a function in a thread of its own, and `done(result, error)` there when it returns.

    Not in a pool: whatever else waits in a pool must not hold up, or be held up by, a copy.
    """

    def perform() -> None:
        outcome = SimpleNamespace(result=None, error=None)
        try:
            outcome.result = function()
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            outcome.error = error
        done(outcome.result, outcome.error)

    threading.Thread(target=perform, name="meantime-offload-copy").start()
