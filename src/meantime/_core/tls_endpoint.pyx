"""The sending half of a TLS transport, its end, and what it tells about itself.

What the program writes waits unencrypted in the queue of SendingEndpoint, by reference, until it
can be sent: then as much is encrypted as the kernel takes, small pieces together in one record.
"""
import warnings
from asyncio import constants
from asyncio.log import logger

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free
from libc.string cimport memcpy

from meantime._core.endpoint cimport CLOSED, DRAINING, LOST, OPEN, OPENING
from meantime._core.sending cimport SendingEndpoint
from meantime._core.tls_engine cimport NOTHING_YET, TlsEngine

cdef enum:
    RECORD_BYTES = 16 * 1024
    # So much of a large write is encrypted and offered to the kernel at once. The rest waits as
    # it is, so that a slow peer costs no second copy of what is written to it.
    CHUNK_BYTES = 64 * 1024
    HIGH_BYTES = 512 * 1024
    # How many writes after the end pass without a warning, as in asyncio.
    WRITES_IGNORED_MAX = 5

cdef object FALLBACK = constants._SendfileMode.FALLBACK


cdef class TlsEndpoint(SendingEndpoint):
    def __cinit__(self):
        # Until __init__ has run there is one that refuses everything.
        self.engine = TlsEngine.__new__(TlsEngine)

    # ---- writing

    cdef bint ignores_write(self) except -1:
        if self.state < DRAINING:
            return False
        if self.writes_ignored >= WRITES_IGNORED_MAX:
            logger.warning("SSL connection is closed")
        self.writes_ignored += 1
        return True

    cdef int send_now(self, object data) except -1:
        """Encrypt straight from the caller's memory, and queue a copy of what finds no room."""
        cdef Py_buffer view
        cdef Py_ssize_t done = 0
        cdef Py_ssize_t size
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            while done < view.len and not self.is_blocked and self.state == OPEN:
                size = min(view.len - done, CHUNK_BYTES)
                if not self.engine.encrypt(<char *>view.buf + done, size):
                    self.is_blocked = True
                    break
                done += size
                self.push()
        except Exception as error:
            self.failed(error)
        finally:
            PyBuffer_Release(&view)
        if self.state < LOST:
            self.enqueue(data, done)
            self.pause_protocol()
        return 0

    cdef int send_queued(self) except -1:
        """Encrypt and send what is queued, until all is gone or there is no room beneath."""
        try:
            while self.queued_bytes and not self.is_blocked:
                if self.encrypt_next() == 0:
                    # The peer wants to change keys first. What it has to say unblocks us.
                    self.is_blocked = True
                elif self.queued_bytes:
                    self.push()
            if self.state == DRAINING and not self.queued_bytes and not self.said_goodbye:
                self.say_goodbye()
            else:
                self.push()
        except Exception as error:
            self.failed(error)
        if self.writing_paused:
            self.resume_protocol()
        return 0

    cdef Py_ssize_t encrypt_next(self) except -1:
        """Encrypt the first bytes of the queue. Returns how many, 0 if the peer must be heard."""
        cdef Py_ssize_t size
        cdef bytes piece = self.lone
        if piece is None:
            piece = self.chunks[self.first]
        size = PyBytes_GET_SIZE(piece) - self.first_offset
        if size < RECORD_BYTES and size < self.queued_bytes:
            return self.encrypt_together()
        size = min(size, CHUNK_BYTES)
        if not self.engine.encrypt(PyBytes_AS_STRING(piece) + self.first_offset, size):
            return 0
        self.drop_sent(size)
        return size

    cdef Py_ssize_t encrypt_together(self) except -1:
        """Encrypt as many pieces as go into one record."""
        cdef char[RECORD_BYTES] record
        cdef Py_ssize_t size = 0
        cdef Py_ssize_t offset = self.first_offset
        cdef Py_ssize_t index = self.first
        cdef Py_ssize_t count
        cdef bytes piece
        while index < len(self.chunks) and size < RECORD_BYTES:
            piece = self.chunks[index]
            count = min(PyBytes_GET_SIZE(piece) - offset, RECORD_BYTES - size)
            memcpy(record + size, PyBytes_AS_STRING(piece) + offset, count)
            size += count
            offset = 0
            index += 1
        if not self.engine.encrypt(record, size):
            return 0
        self.drop_sent(size)
        return size

    cdef int push(self) except -1:
        """Hand what is encrypted to the transport beneath."""
        cdef Py_ssize_t size = 0
        cdef char *data = self.engine.take_output(&size)
        if data == NULL:
            return 0
        try:
            if self.stream is not None:
                self.stream.send_memory(data, size)
            elif self.lower is not None:
                self.lower.write(PyBytes_FromStringAndSize(data, size))
        finally:
            free(data)
        return 0

    def write_eof(self):
        """Raise NotImplementedError: TLS has no connections with one open direction."""
        raise NotImplementedError

    def can_write_eof(self):
        """Return False: TLS has no connections with one open direction."""
        return False

    def set_write_buffer_limits(self, high=None, low=None):
        """Say when the protocol's pause_writing and resume_writing are called.

        Args:
            high: pause above so many bytes; by default 512 KiB, or four times `low`.
            low: resume at so many bytes or fewer; by default a quarter of `high`.
        """
        if high is None and low is None:
            high = HIGH_BYTES
        SendingEndpoint.set_write_buffer_limits(self, high, low)

    # ---- ending

    def close(self):
        """Close when everything queued has been sent and both sides have said goodbye.

        Nothing is read any more. In the middle of the handshake it aborts.
        """
        if self.state == OPENING:
            self.force_close(None)
        else:
            self.begin_closing()

    cdef int begin_closing(self) except -1:
        if self.state != OPEN:
            return 0
        self.state = DRAINING
        if self.paused:
            # What comes is thrown away now, and the peer's goodbye may be behind it.
            self.lower.resume_reading()
        self.set_timer(self.shutdown_timeout_s, self._goodbye_timed_out)
        # Whoever is given data says more than goodbye, perhaps.
        return 0 if self.is_corked else self.send_queued()

    cdef int say_goodbye(self) except -1:
        cdef bint is_complete
        self.said_goodbye = True
        if self.lower_ended:
            # The peer has gone without one.
            self.push()
            return self.finish()
        is_complete = self.engine.shutdown()
        self.push()
        return self.finish() if is_complete else self.wait_for_goodbye()

    cdef int wait_for_goodbye(self) except -1:
        """Throw away what the peer still says, up to its goodbye."""
        cdef char[RECORD_BYTES] waste
        cdef Py_ssize_t count = 1
        while count > 0:
            count = self.engine.decrypt(waste, RECORD_BYTES)
        if count != NOTHING_YET and self.said_goodbye:
            return self.finish()
        return 0

    cdef int finish(self) except -1:
        """Close the transport beneath. The timer runs on, and bounds how long it takes."""
        if self.lower is not None:
            self.lower.close()
        return 0

    def _goodbye_timed_out(self):
        if self.state == DRAINING:
            self.force_close(TimeoutError("SSL shutdown timed out"))

    cdef int lose(self, object error) except -1:
        """Lose the transport beneath, which will tell us."""
        self.state = LOST
        self.stop_timer()
        if self.lower is None:
            # It will find out when it tells us that it is there.
            return 0
        force_close = getattr(self.lower, "_force_close", None)
        if force_close is not None:
            force_close(error)
        else:
            self.lower.abort()
        return 0

    cdef int failed(self, object error) except -1:
        """Give up. OpenSSL may have an alert for the peer, which says why."""
        if self.state >= LOST:
            return 0
        self.push()
        return self.fatal(error, "Fatal error on SSL protocol")

    cdef int close_socket(self) except -1:
        self.state = CLOSED
        return 0

    cdef int set_timer(self, double timeout_s, object callback) except -1:
        self.stop_timer()
        self.timer = self.loop.call_later(timeout_s, callback)
        return 0

    cdef int stop_timer(self) except -1:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return 0

    def __del__(self):
        if self.state == CLOSED or self.lower is None or self.stream is not None:
            # One warning is enough, and a StreamTransport gives its own.
            return
        warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self)

    # ---- about

    def get_extra_info(self, name, default=None):
        """Return what is known under `name`: the names of asyncio's TLS, or those from beneath."""
        if name == "sslcontext":
            return self.sslcontext
        sslobj = None if self.state == OPENING else self.engine.sslobj
        if sslobj is not None and name in ("ssl_object", "peercert", "cipher", "compression"):
            if name == "ssl_object":
                return sslobj
            return sslobj.getpeercert() if name == "peercert" else getattr(sslobj, name)()
        if self.lower is None:
            return default
        return self.lower.get_extra_info(name, default)

    @property
    def _extra(self):
        names = ("sslcontext", "ssl_object", "peercert", "cipher", "compression")
        extra = dict(getattr(self.lower, "_extra", ()))
        extra.update((name, self.get_extra_info(name)) for name in names)
        return extra

    @property
    def _sslcontext(self):
        return self.sslcontext

    @property
    def _sock(self):
        return getattr(self.lower, "_sock", None)

    def __repr__(self):
        parts = [type(self).__name__, self._state.lower()]
        if self.queued_bytes:
            parts.append(f"{self.queued_bytes} bytes to send")
        return f"<{' '.join(parts)} over {self.lower!r}>"

    # loop.sendfile asks a transport for this: the kernel cannot encrypt.
    _sendfile_compatible = FALLBACK
