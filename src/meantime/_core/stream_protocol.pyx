# cython: binding=True
"""The protocol between a transport and a stream: it gives data to the reader, and tells the writer
when to wait.

A transport of ours asks once, by `direct_receiver`, whether data may be handed over by a call in C.
"""
import collections
import weakref
from asyncio.log import logger

from meantime._core.receivers import check_receivers

from meantime._core.coroutine cimport FRESH, Coroutine, mark_coroutine_function
from meantime._core.stream_input cimport StreamInput, loop_for

cdef extern from *:
    """
    static PyObject *referent(PyObject *reference)
    {
        PyObject *object = NULL;
    #if PY_VERSION_HEX >= 0x030D0000
        if (PyWeakref_GetRef(reference, &object) < 0)
            return NULL;
        return object != NULL ? object : Py_NewRef(Py_None);
    #else
        object = PyWeakref_GetObject(reference);
        return object != NULL ? Py_NewRef(object) : NULL;
    #endif
    }
    """
    # What a weak reference refers to, or None.
    object referent(object reference)


cdef class StreamProtocol:
    """What asyncio.StreamReaderProtocol does for each packet, and more often than once.

    Args:
        stream_reader: who is given what arrives. A weak reference is kept.
        client_connected_cb: for a server, whom to tell of the connection.
        loop: the event loop; by default the current one.
    """

    def __init__(self, stream_reader, client_connected_cb=None, loop=None):
        self._loop = loop_for(loop)
        if stream_reader is not None:
            self._stream_reader_wr = weakref.ref(stream_reader)
            self._source_traceback = stream_reader._source_traceback
        if client_connected_cb is not None:
            # Nobody else has it, until the callback is given it.
            self._strong_reader = stream_reader
        self._client_connected_cb = client_connected_cb
        self.drains_itself = type(self)._drain_helper is StreamProtocol._drain_helper

    @property
    def _stream_reader(self):
        return self.reader_or_none()

    cdef object reader_or_none(self):
        if self._stream_reader_wr is None:
            return None
        return referent(self._stream_reader_wr)

    # ---- what the transport tells

    cdef bint take(self, bytes data) except -1:
        """Give `data` to the reader. Returns whether that was all that `data_received` would do."""
        reader = self.reader_or_none()
        if not isinstance(reader, StreamInput) or not (<StreamInput>reader).takes_directly():
            return False
        (<StreamInput>reader).feed(data)
        return True

    def data_received(self, data):
        """Give the reader what has arrived."""
        reader = self.reader_or_none()
        if reader is not None:
            reader.feed_data(data)

    def eof_received(self):
        """Tell the reader that nothing more arrives. Returns whether we may still write."""
        reader = self.reader_or_none()
        if reader is not None:
            reader.feed_eof()
        # TLS has no half-closed connections, and says so when it is asked for one.
        return not self._over_ssl

    def connection_lost(self, exc):
        """Tell all who wait that the connection is lost."""
        reader = self.reader_or_none()
        if reader is not None:
            if exc is None:
                reader.feed_eof()
            else:
                reader.set_exception(exc)
        if not self.is_closed:
            self.is_closed = True
            self.closing_error = exc
            if self.closed is not None and not self.closed.done():
                self.settle_closed()
        self._connection_lost = True
        if self._paused:
            self.wake_drains(exc)
        self._stream_reader_wr = None
        self._stream_writer = None
        self._task = None
        self._transport = None

    # ---- flow control

    def pause_writing(self):
        """Have `drain` wait."""
        assert not self._paused
        self._paused = True
        if self._loop.get_debug():
            logger.debug("%r pauses writing", self)

    def resume_writing(self):
        """Have `drain` wait no longer."""
        assert self._paused
        self._paused = False
        if self._loop.get_debug():
            logger.debug("%r resumes writing", self)
        self.wake_drains(None)

    cdef int wake_drains(self, object error) except -1:
        if self.drain_waiters is None:
            return 0
        for waiter in self.drain_waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)
        return 0

    cdef object waiters(self):
        if self.drain_waiters is None:
            self.drain_waiters = collections.deque()
        return self.drain_waiters

    @property
    def _drain_waiters(self):
        return self.waiters()

    def _drain_helper(self):
        cdef Drain call = Drain.__new__(Drain)
        call.protocol = self
        call.stage = FRESH
        return call

    # ---- the end

    @property
    def _closed(self):
        if self.closed is None:
            self.closed = self._loop.create_future()
            if self.is_closed:
                self.settle_closed()
        return self.closed

    @_closed.setter
    def _closed(self, future):
        self.closed = future

    cdef int settle_closed(self) except -1:
        if self.closing_error is None:
            self.closed.set_result(None)
        else:
            self.closed.set_exception(self.closing_error)
        return 0

    def _get_close_waiter(self, stream):
        return self._closed

    def __del__(self):
        # Nobody needs to have waited for the end: its error is no error that was forgotten.
        closed = self.closed
        if closed is not None and closed.done() and not closed.cancelled():
            closed.exception()


cdef class Drain(Coroutine):
    """A call of a coroutine that waits until the transport takes more."""

    cdef object begin(self):
        cdef StreamProtocol protocol = self.protocol
        if protocol._connection_lost:
            raise ConnectionResetError("Connection lost")
        if not protocol._paused:
            return self.finish(None)
        self.waiter = protocol._loop.create_future()
        protocol.waiters().append(self.waiter)
        return self.waiter

    cdef object resume(self, object value):
        self.stop_waiting()
        return self.finish(None)

    cdef object fail(self, object exception):
        self.stop_waiting()
        raise exception

    cdef int stop_waiting(self) except -1:
        waiter = self.waiter
        self.waiter = None
        if waiter is not None:
            self.protocol.waiters().remove(waiter)
        return 0

    cdef str qualified_name(self):
        return "StreamReaderProtocol._drain_helper"


cdef object data_received = StreamProtocol.data_received


cdef StreamProtocol direct_receiver(object protocol):
    """Return `protocol` if what arrives may be given to its `take`, or None."""
    if (
        isinstance(protocol, StreamProtocol)
        and type(protocol).data_received is data_received
        and "data_received" not in getattr(protocol, "__dict__", ())
    ):
        return protocol
    return None


mark_coroutine_function(StreamProtocol._drain_helper)
check_receivers(globals())
