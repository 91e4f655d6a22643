"""Two engines that do the same TLS: on OpenSSL itself, and on Python's ssl module.

Both begin with `SSLContext.wrap_bio`, and both let the SSLObject do the handshake. Whom to trust,
SNI, ALPN, session tickets and what the program may ask afterwards are thus Python's own.

The direct engine then takes the SSL out of that object and calls SSL_read and SSL_write itself:
straight from the memory that was received into, straight into the bytes that the program gets,
without two BIOs that grow, an exception for each "nothing left", and giving up the GIL for each
record. It is used where it was seen to work (`why_not_direct`) and where nobody has put methods
of his own in the SSLObject's place. An error is not interpreted here: OpenSSL keeps it for the
thread, so the SSLObject, asked the same again, raises what it always raises.
"""
import os
import ssl

try:
    import _ssl
except ImportError:
    _ssl = None

cimport cython
from cpython.buffer cimport PyBUF_READ, PyBUF_WRITE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.object cimport PyObject
from libc.limits cimport INT_MAX
from libc.stdlib cimport malloc
from libc.string cimport memcpy

from meantime._core.openssl cimport (
    TLS_ERROR_WANT_READ,
    TLS_ERROR_WANT_WRITE,
    TLS_ERROR_ZERO_RETURN,
    OpenSSL_version_num,
    SSL_free,
    SSL_get_error,
    SSL_get_rbio,
    SSL_get_wbio,
    SSL_pending,
    SSL_read,
    SSL_shutdown,
    SSL_up_ref,
    SSL_write,
    field_of,
    forget_errors,
    looks_like_ssl,
    openssl_load,
    tls_state,
    wire_feed,
    wire_lay,
    wire_reserve,
    wire_settle,
    wire_take,
)

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define HAS_GIL 0
    #else
    #define HAS_GIL 1
    #endif
    """
    bint HAS_GIL

cdef enum:
    RECORD_BYTES_MAX = 16 * 1024
    # What a record may be longer than what it carries: header, explicit nonce, padding, MAC.
    RECORD_OVERHEAD_MAX = 256

cdef object SSLObject = ssl.SSLObject
cdef object SSLSocketType = getattr(_ssl, "_SSLSocket", None)
cdef object MemoryBIO = ssl.MemoryBIO
# What stands for "more must arrive first"; the second one for asyncio, which has it here as well.
cdef tuple NOT_YET = (ssl.SSLWantReadError, ssl.SSLSyscallError)

cdef object reason_against_direct = "it was not tried yet"


cdef class TlsEngine:
    cdef int feed(self, const char *data, Py_ssize_t size) except -1:
        raise NotImplementedError

    cdef int settle(self) except -1:
        return 0

    cdef Py_ssize_t unread(self) except -1:
        return 0

    cdef bint shake_hands(self) except -1:
        try:
            self.sslobj.do_handshake()
        except NOT_YET:
            return False
        return True

    cdef Py_ssize_t decrypt(self, char *buffer, Py_ssize_t room) except -2:
        raise NotImplementedError

    cdef bint encrypt(self, const char *data, Py_ssize_t size) except -1:
        raise NotImplementedError

    cdef bint shutdown(self) except -1:
        raise NotImplementedError

    cdef char *take_output(self, Py_ssize_t *size) except? NULL:
        raise NotImplementedError


cdef class DirectEngine(TlsEngine):
    def __dealloc__(self):
        if self.ssl != NULL:
            SSL_free(self.ssl)

    cdef int feed(self, const char *data, Py_ssize_t size) except -1:
        if not wire_feed(self.wire, data, size):
            raise MemoryError()
        return 0

    cdef int settle(self) except -1:
        if not wire_settle(self.wire):
            self.wire.in_left = 0
            raise MemoryError()
        return 0

    cdef Py_ssize_t unread(self) except -1:
        return self.wire.in_left + SSL_pending(self.ssl)

    cdef Py_ssize_t decrypt(self, char *buffer, Py_ssize_t room) except -2:
        cdef int count
        if self.inner is None:
            return NOTHING_YET
        forget_errors()
        count = SSL_read(self.ssl, buffer, min(room, INT_MAX))
        if count > 0:
            return count
        count = SSL_get_error(self.ssl, count)
        if count == TLS_ERROR_WANT_READ or count == TLS_ERROR_WANT_WRITE:
            return NOTHING_YET
        if count == TLS_ERROR_ZERO_RETURN:
            return 0
        raise self.failure()

    cdef bint encrypt(self, const char *data, Py_ssize_t size) except -1:
        cdef int result
        if self.inner is None:
            return False
        if not wire_reserve(self.wire, size + (size // RECORD_BYTES_MAX + 1) * RECORD_OVERHEAD_MAX):
            raise MemoryError()
        forget_errors()
        result = SSL_write(self.ssl, data, size)
        if result > 0:
            return True
        result = SSL_get_error(self.ssl, result)
        if result == TLS_ERROR_WANT_READ or result == TLS_ERROR_WANT_WRITE:
            return False
        raise self.failure()

    cdef bint shutdown(self) except -1:
        cdef int result
        if self.inner is None:
            return True
        forget_errors()
        result = SSL_shutdown(self.ssl)
        if result >= 0:
            return result
        result = SSL_get_error(self.ssl, result)
        if result == TLS_ERROR_WANT_READ or result == TLS_ERROR_WANT_WRITE:
            return False
        raise self.failure()

    cdef object failure(self):
        """Return the exception for the error that OpenSSL has just noted."""
        try:
            self.sslobj.read(1)
        except NOT_YET:
            pass
        except ssl.SSLError as error:
            return error.with_traceback(None)
        finally:
            forget_errors()
        return ssl.SSLError(ssl.SSL_ERROR_SSL, "TLS failed, and OpenSSL does not say why")

    cdef char *take_output(self, Py_ssize_t *size) except? NULL:
        cdef size_t count
        cdef char *data = wire_take(self.wire, &count)
        size[0] = count
        return data


cdef class PortableEngine(TlsEngine):
    cdef int feed(self, const char *data, Py_ssize_t size) except -1:
        self.incoming.write(PyMemoryView_FromMemory(<char *>data, size, PyBUF_READ))
        return 0

    cdef Py_ssize_t unread(self) except -1:
        return self.incoming.pending + self.sslobj.pending()

    cdef Py_ssize_t decrypt(self, char *buffer, Py_ssize_t room) except -2:
        try:
            return self.sslobj.read(room, PyMemoryView_FromMemory(buffer, room, PyBUF_WRITE))
        except NOT_YET:
            return NOTHING_YET
        except ssl.SSLZeroReturnError:
            return 0

    cdef bint encrypt(self, const char *data, Py_ssize_t size) except -1:
        try:
            self.sslobj.write(PyMemoryView_FromMemory(<char *>data, size, PyBUF_READ))
        except NOT_YET:
            return False
        return True

    cdef bint shutdown(self) except -1:
        # unwrap() looks for the peer's goodbye at once, and takes data in its place for an error.
        try:
            while self.sslobj.read(RECORD_BYTES_MAX):
                pass
        except NOT_YET:
            pass
        try:
            self.sslobj.unwrap()
        except NOT_YET:
            return False
        return True

    cdef char *take_output(self, Py_ssize_t *size) except? NULL:
        cdef bytes out = self.outgoing.read()
        cdef char *data
        size[0] = PyBytes_GET_SIZE(out)
        if size[0] == 0:
            return NULL
        data = <char *>malloc(size[0])
        if data == NULL:
            raise MemoryError()
        memcpy(data, PyBytes_AS_STRING(out), size[0])
        return data


cdef TlsEngine engine_for(object sslcontext, bint server_side, object server_hostname):
    """Return the best engine for a new connection of `sslcontext`."""
    cdef PortableEngine portable
    cdef DirectEngine direct
    incoming, outgoing = MemoryBIO(), MemoryBIO()
    sslobj = sslcontext.wrap_bio(
        incoming, outgoing, server_side=server_side, server_hostname=server_hostname)
    if reason_against_direct is None and is_stock(sslcontext, sslobj):
        direct = DirectEngine.__new__(DirectEngine)
        if take_over(direct, sslobj, incoming, outgoing):
            return direct
    portable = PortableEngine.__new__(PortableEngine)
    portable.sslobj = sslobj
    portable.incoming = incoming
    portable.outgoing = outgoing
    return portable


cdef bint is_stock(object sslcontext, object sslobj) except -1:
    """Tell whether reading and writing are OpenSSL's alone, and nobody listens in."""
    kind = type(sslobj)
    return (
        getattr(kind, "read", None) is SSLObject.read
        and getattr(kind, "write", None) is SSLObject.write
        and getattr(kind, "unwrap", None) is SSLObject.unwrap
        and type(sslobj._sslobj) is SSLSocketType
        # What such a callback raises is kept for the SSLObject's next method.
        and getattr(sslcontext, "_msg_callback", None) is None
    )


cdef tls_state *ssl_of(object inner, object incoming, object outgoing) noexcept:
    """Return the SSL inside of a _ssl._SSLSocket, or NULL when it is not where it should be."""
    cdef tls_state *found = <tls_state *>field_of(<PyObject *>inner, 1)
    cdef void *read_pipe = field_of(<PyObject *>incoming, 0)
    cdef void *write_pipe = field_of(<PyObject *>outgoing, 0)
    if found == NULL or SSL_get_rbio(found) != read_pipe or SSL_get_wbio(found) != write_pipe:
        return NULL
    return found


cdef bint take_over(DirectEngine engine, object sslobj, object incoming, object outgoing) except -1:
    inner = sslobj._sslobj
    cdef tls_state *found = ssl_of(inner, incoming, outgoing)
    if found == NULL or outgoing.pending:
        # A wrap_bio() of somebody's own may have begun to speak already.
        return False
    engine.wire = wire_lay(found)
    if engine.wire == NULL:
        raise MemoryError()
    SSL_up_ref(found)
    engine.ssl = found
    engine.inner = inner
    engine.sslobj = sslobj
    return True


@cython.binding(True)
def why_not_direct():
    """Return why the direct engine is not used in this process, or None where it is."""
    return reason_against_direct


@cython.binding(True)
def choose_engine(name=None):
    """Use the engine `name` for connections from now on: "direct", "portable", or the best one.

    Raises:
        ValueError: there is no such engine, or the direct one does not work in this process.
    """
    global reason_against_direct
    if name not in (None, "", "direct", "portable"):
        raise ValueError(
            f"there is no TLS engine {name!r}. Choose 'direct' or 'portable', or leave it out "
            "and meantime chooses."
        )
    if name == "portable":
        reason_against_direct = "the portable one was asked for"
        return
    reason_against_direct = find_obstacle()
    if name == "direct" and reason_against_direct is not None:
        raise ValueError(
            f"the direct TLS engine does not work here: {reason_against_direct}. "
            "Leave the choice to meantime, and it takes the portable one."
        )


@cython.binding(True)
def find_obstacle(module=_ssl):
    """Try everything that the direct engine relies on. Returns what is not as it should be.

    Args:
        module: the extension module whose OpenSSL is looked for.
    """
    cdef const char *missing
    path = getattr(module, "__file__", None)
    if not HAS_GIL:
        return "this Python runs without a GIL, and locks each SSL in its own way"
    if SSLSocketType is None or path is None:
        return "Python's _ssl is part of the interpreter and shows no OpenSSL"
    missing = openssl_load(os.fsencode(path))
    if missing != NULL:
        return f"Python's _ssl shows no {os.fsdecode(missing)}"
    if OpenSSL_version_num() != ssl.OPENSSL_VERSION_NUMBER:
        return "the OpenSSL that was found is not the one of Python's _ssl"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    incoming, outgoing = MemoryBIO(), MemoryBIO()
    inner = context.wrap_bio(incoming, outgoing)._sslobj
    if type(inner) is not SSLSocketType:
        return "an SSLObject holds something else than an _ssl._SSLSocket"
    if SSLSocketType.__basicsize__ < sizeof(PyObject) + 2 * sizeof(void *):
        return "an _ssl._SSLSocket has no room for what it should hold"
    if not looks_like_ssl(
        field_of(<PyObject *>inner, 1),
        field_of(<PyObject *>incoming, 0),
        field_of(<PyObject *>outgoing, 0),
    ):
        return "the SSL is not where _ssl._SSLSocket has it in the versions that are known"
    if ssl_of(inner, incoming, outgoing) == NULL:
        return "OpenSSL's functions do not know the SSL that Python's _ssl made"
    return None


try:
    choose_engine(os.environ.get("MEANTIME_TLS"))
except ValueError as error:
    raise ImportError(f"MEANTIME_TLS: {error}") from None
