"""The receiving end of a stream: what arrived is kept in the pieces in which it came.

A transport of ours gives its data to `feed` by a call in C (see stream_protocol.pyx); any other
calls the protocol, and that `feed_data`.

`_buffer` is asyncio's private name for what has arrived, and well known: libraries ask whether it
is empty, tests compare it. Here it is made when somebody asks, and lent: as long as somebody has
it, changes on either side are seen on the other.
"""
import asyncio
import sys
from asyncio import events

cimport cython
from cpython.bytes cimport PyBytes_FromObject, PyBytes_GET_SIZE

from meantime._core.chunks cimport Chunks
from meantime._core.parking cimport PENDING, Waiter, waiter_on

cdef extern from *:
    """
    #define drop_attributes(self) Py_CLEAR((self)->__dict__)
    #define has_none(self) ((self)->__dict__ == NULL)
    #define is_only_ours(self) (Py_REFCNT((self)->spare) == 1)
    #define begin_again(future, arguments, keywords) \\
        (Py_TYPE(future)->tp_init(future, arguments, keywords))
    #define is_still_lent(self) (Py_REFCNT((self)->lent) > 1)
    """
    void drop_attributes(StreamInput self)
    bint is_only_ours(StreamInput self) noexcept
    int begin_again(object future, tuple arguments, dict keywords) except -1
    bint has_none(StreamInput self) noexcept
    bint is_still_lent(StreamInput self) noexcept

DEFAULT_LIMIT = 64 * 1024

cdef type Future = asyncio.Future
# From Python 3.15 on a future is set up only once.
cdef bint BEGINS_AGAIN = sys.version_info < (3, 15)
cdef tuple NOTHING = ()


cdef object loop_for(object given):
    """Return the loop that was given, or else the current one, as asyncio finds it."""
    if given is not None:
        return given
    if sys.version_info < (3, 12):
        return events._get_event_loop(stacklevel=2)
    return events.get_event_loop()


cdef Py_ssize_t clipped(object size) except -1:
    """Return a number of bytes as C has it. Nothing is larger than the largest."""
    return int(size) if size < sys.maxsize else sys.maxsize


# Whatever the garbage collector finds it in is cleared elsewhere. It stays whole, as its methods
# trust in its pieces being there.
@cython.no_gc_clear
cdef class StreamInput:
    def __cinit__(self):
        # Cython makes the dictionary with the object. Python makes it when something is put in.
        drop_attributes(self)
        self.chunks = Chunks.__new__(Chunks)
        self.limit = DEFAULT_LIMIT
        self.limit_bytes = DEFAULT_LIMIT
        self.pause_bytes = 2 * DEFAULT_LIMIT

    # ---- what is held

    cdef Py_ssize_t held(self) except -1:
        """Return how many bytes there are. Whatever looks at them asks this first."""
        if self.lent is not None:
            self.take_back()
        return self.chunks.size

    cdef int take_back(self) except -1:
        self.chunks.drop_all()
        self.chunks.append(bytes(self.lent))
        if not is_still_lent(self):
            self.lent = None
        return 0

    cdef int settle(self) except -1:
        """Let whoever was lent the buffer, and still has it, see what is left."""
        if self.lent is not None:
            self.lent[:] = self.chunks.take(self.chunks.size)
        return 0

    cdef bytes take(self, Py_ssize_t count):
        """Take so many bytes, or all if there are fewer, and let more come if there is room."""
        cdef bytes taken = self.chunks.take(count)
        cdef Py_ssize_t left = self.chunks.size
        self.settle()
        if self._paused and left <= self.limit_bytes:
            self.resume_transport()
        return taken

    cdef bytes take_rest(self):
        """Take all that is left at the end of the stream."""
        cdef bytes taken = self.chunks.take(self.chunks.size)
        self.settle()
        return taken

    cdef int put_back(self, bytes data) except -1:
        """Put what was taken in front of what came after it."""
        self.held()
        self.chunks.prepend(data)
        return self.settle()

    cdef bint takes_directly(self) noexcept:
        """Whether `feed` is all that `feed_data` would do: nobody has put another in its place."""
        return self.is_own_class and self.has_no_attributes()

    cdef bint has_no_attributes(self) noexcept:
        return has_none(self)

    cdef int feed(self, bytes data) except -1:
        cdef Py_ssize_t size
        assert not self._eof, "feed_data after feed_eof"
        if PyBytes_GET_SIZE(data) == 0:
            return 0
        self.held()
        self.chunks.append(data)
        size = self.chunks.size
        self.settle()
        if self._waiter is not None:
            self.wake()
        if size > self.pause_bytes and not self._paused and self._transport is not None:
            self.pause_transport()
        return 0

    # ---- waiting

    cdef object new_waiter(self, str function):
        """Return a future that is done when data comes, or the end."""
        if self._waiter is not None:
            raise RuntimeError(
                f"{function}() called while another coroutine is "
                "already waiting for incoming data. Let one task read this stream."
            )
        assert not self._eof, "_wait_for_data after EOF"
        if self._paused:
            # Otherwise it would wait for itself, when it wants more than the limit.
            self.resume_transport()
        self._waiter = self.fresh_future()
        return self._waiter

    cdef object fresh_future(self):
        """Return a pending future: a used one if nobody else has it any more.

        To make one is the most expensive part of a short read. The one before the last is taken,
        because the handle that woke us has the last one still.
        """
        waiter = waiter_on(self.loop)
        if waiter is not None:
            return waiter
        if self.spare is None or not is_only_ours(self):
            return self.loop.create_future()
        future = self.spare
        self.spare = None
        if self.with_loop is None:
            self.with_loop = {"loop": self.loop}
        begin_again(future, NOTHING, self.with_loop)
        return future

    cdef int waited_for(self, object waiter) except -1:
        """Keep a future that is done."""
        if BEGINS_AGAIN and type(waiter) is Future:
            self.spare = self.spent
            self.spent = waiter
        return 0

    cdef int wake(self) except -1:
        waiter = self._waiter
        self._waiter = None
        if type(waiter) is Waiter:
            if (<Waiter>waiter).state == PENDING:
                (<Waiter>waiter).wake(None)
            return 0
        try:
            waiter.set_result(None)
        except Exception:
            if not waiter.cancelled():
                raise
        return 0

    cdef int pause_transport(self) except -1:
        try:
            self._transport.pause_reading()
        except NotImplementedError:
            # It cannot be paused. It is not asked again, and all that comes is kept.
            self._transport = None
        else:
            self._paused = True
        return 0

    cdef int resume_transport(self) except -1:
        self._paused = False
        self._transport.resume_reading()
        return 0

    # ---- what the protocol tells

    def set_transport(self, transport):
        """Take note of the transport, which is paused when too much waits to be read."""
        assert self._transport is None, "Transport already set"
        self._transport = transport

    def _replace_transport(self, transport):
        assert self._transport is not None, "Transport not set"
        self._transport = transport

    def feed_data(self, data):
        """Take what has arrived."""
        self.feed(data if type(data) is bytes else bytes_of(data))

    def feed_eof(self):
        """Take note that nothing more arrives."""
        self._eof = True
        self._wakeup_waiter()

    def set_exception(self, exc):
        """Have whoever reads, now and later, get this exception."""
        self._exception = exc
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.cancelled():
                waiter.set_exception(exc)

    def _wakeup_waiter(self):
        if self._waiter is not None:
            self.wake()

    def _maybe_resume_transport(self):
        if self._paused and self.held() <= self.limit_bytes:
            self.resume_transport()

    # ---- what the program asks

    def exception(self):
        """Return the exception that was set, or None."""
        return self._exception

    def at_eof(self):
        """Return whether everything has been read and nothing more will come."""
        return self._eof and self.held() == 0

    # ---- about

    @property
    def _buffer(self):
        if self.lent is None:
            self.lent = bytearray(self.chunks.take(self.chunks.size))
        return self.lent

    @_buffer.setter
    def _buffer(self, data):
        self.lent = data if type(data) is bytearray else bytearray(data)
        self.chunks.drop_all()

    @property
    def _loop(self):
        return self.loop

    @_loop.setter
    def _loop(self, loop):
        self.loop = loop
        self.spare = self.spent = self.with_loop = None

    @property
    def _limit(self):
        return self.limit

    @_limit.setter
    def _limit(self, limit):
        self.limit_bytes = clipped(limit)
        self.pause_bytes = clipped(2 * limit)
        self.limit = limit

    def __repr__(self):
        info = ["StreamReader"]
        if self.held():
            info.append(f"{self.chunks.size} bytes")
        if self._eof:
            info.append("eof")
        if self.limit != DEFAULT_LIMIT:
            info.append(f"limit={self.limit}")
        if self._waiter:
            info.append(f"waiter={self._waiter!r}")
        if self._exception:
            info.append(f"exception={self._exception!r}")
        if self._transport:
            info.append(f"transport={self._transport!r}")
        if self._paused:
            info.append("paused")
        return f"<{' '.join(info)}>"


cdef bytes bytes_of(object data):
    """Return what bytearray.extend would take from `data`."""
    if isinstance(data, (bytes, bytearray)):
        return PyBytes_FromObject(data)
    collected = bytearray()
    collected.extend(data)
    return bytes(collected)
