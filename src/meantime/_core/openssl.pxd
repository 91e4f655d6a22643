"""What the direct TLS engine takes from openssl.h."""
from cpython.object cimport PyObject

cdef extern from "openssl.h" nogil:
    int TLS_ERROR_WANT_READ, TLS_ERROR_WANT_WRITE, TLS_ERROR_ZERO_RETURN

    ctypedef struct tls_state:
        pass
    ctypedef struct tls_pipe:
        pass

    int SSL_read "openssl.SSL_read"(tls_state *ssl, void *buffer, int room)
    int SSL_write "openssl.SSL_write"(tls_state *ssl, const void *data, int size)
    int SSL_shutdown "openssl.SSL_shutdown"(tls_state *ssl)
    int SSL_get_error "openssl.SSL_get_error"(const tls_state *ssl, int result)
    int SSL_pending "openssl.SSL_pending"(const tls_state *ssl)
    int SSL_up_ref "openssl.SSL_up_ref"(tls_state *ssl)
    void SSL_free "openssl.SSL_free"(tls_state *ssl)
    tls_pipe *SSL_get_rbio "openssl.SSL_get_rbio"(const tls_state *ssl)
    tls_pipe *SSL_get_wbio "openssl.SSL_get_wbio"(const tls_state *ssl)
    void forget_errors()
    unsigned long OpenSSL_version_num "openssl.OpenSSL_version_num"()

    struct wire:
        size_t in_left
    wire *wire_lay(tls_state *ssl)
    bint wire_feed(wire *wire, const char *data, size_t size)
    bint wire_settle(wire *wire)
    bint wire_reserve(wire *wire, size_t size)
    char *wire_take(wire *wire, size_t *size)

    const char *openssl_load(const char *path)
    void *field_of(PyObject *object, int index)
    bint looks_like_ssl(const void *candidate, const void *read_pipe, const void *write_pipe)
