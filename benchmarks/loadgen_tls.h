/* TLS for loadgen.
 *
 * OpenSSL's library is loaded when --tls asks for it, so that neither its headers nor a second
 * program are needed to compile this. What it reads comes straight from the socket, as much as is
 * there; what it writes is gathered and leaves with one send, however many records it has. And as
 * loadgen only looks at the bytes of the first answer, and at the length of all others, these others
 * are not decrypted: a record's head says how long it is. So the client is cheaper than any server
 * that does its work, and the server is what is slow.
 */
#include <dlfcn.h>

/* From OpenSSL's headers: numbers that its programs are compiled with, and so never change. */
enum {
    ERROR_WANT_READ = 2, ERROR_WANT_WRITE = 3, ERROR_ZERO_RETURN = 6,
    SET_READ_AHEAD = 41, FLUSH = 11,
    MAY_RETRY_READ = 0x01 | 0x08, ALL_RETRY_FLAGS = 0x0f,
    SOURCE_AND_SINK = 0x0400, /* the type of a BIO that has neither a descriptor nor a name */
    READ_AHEAD_BYTES = 128 * 1024,
    TLS_1_3 = 0x0304, APPLICATION_DATA = 23, RECORD_HEAD_BYTES = 5,
    RECORD_EXTRA_BYTES = 17, /* TLS 1.3: what a record has beside its data, type and tag */
};

#define TLS_FUNCTIONS(F) \
    F(const void *, TLS_client_method, (void)) \
    F(void *, SSL_CTX_new, (const void *method)) \
    F(long, SSL_CTX_ctrl, (void *context, int command, long number, void *pointer)) \
    F(void, SSL_CTX_set_default_read_buffer_len, (void *context, size_t bytes)) \
    F(void, SSL_CTX_set_cert_verify_callback, \
      (void *context, int (*verify)(void *, void *), void *argument)) \
    F(void *, SSL_new, (void *context)) \
    F(void, SSL_free, (void *tls)) \
    F(void, SSL_set_bio, (void *tls, void *reads, void *writes)) \
    F(void, SSL_set_connect_state, (void *tls)) \
    F(int, SSL_read, (void *tls, void *data, int bytes)) \
    F(int, SSL_write, (void *tls, const void *data, int bytes)) \
    F(int, SSL_shutdown, (void *tls)) \
    F(int, SSL_version, (const void *tls)) \
    F(int, SSL_get_error, (const void *tls, int result)) \
    F(int, SSL_set_session, (void *tls, void *session)) \
    F(void *, SSL_get1_session, (void *tls)) \
    F(int, SSL_session_reused, (const void *tls)) \
    F(void *, BIO_meth_new, (int type, const char *name)) \
    F(int, BIO_meth_set_read, (void *method, int (*read)(void *, char *, int))) \
    F(int, BIO_meth_set_write, (void *method, int (*write)(void *, const char *, int))) \
    F(int, BIO_meth_set_ctrl, (void *method, long (*control)(void *, int, long, void *))) \
    F(void *, BIO_new, (const void *method)) \
    F(void, BIO_set_data, (void *bio, void *data)) \
    F(void *, BIO_get_data, (void *bio)) \
    F(void, BIO_set_init, (void *bio, int is_usable)) \
    F(void, BIO_set_flags, (void *bio, int flags)) \
    F(void, BIO_clear_flags, (void *bio, int flags)) \
    F(unsigned long, ERR_get_error, (void)) \
    F(void, ERR_error_string_n, (unsigned long error, char *text, size_t bytes))

#define DECLARE(result, name, arguments) static result(*name) arguments;
TLS_FUNCTIONS(DECLARE)

struct tls {
    void *ssl;
    int fd, is_to_resume;
    char *out; /* encrypted bytes, of which the first `out_sent` have left */
    size_t out_bytes, out_sent, out_room;
    int is_counting; /* answers are counted, no longer decrypted */
    unsigned head_bytes;
    unsigned char head[RECORD_HEAD_BYTES];
    size_t record_left, record_data;
};

static void *tls_context, *tls_bio_method, *tls_session;

static void fail(const char *format, ...);

static void *tls_symbol(void *library, const char *name)
{
    void *symbol = dlsym(library, name);
    if (!symbol)
        fail("OpenSSL's library has no %s: loadgen needs OpenSSL 1.1.1 or newer", name);
    return symbol;
}

/* ---- what OpenSSL reads and writes through ---- */

static int tls_socket_read(void *bio, char *data, int bytes)
{
    struct tls *tls = BIO_get_data(bio);
    ssize_t received = recv(tls->fd, data, (size_t)bytes, 0);
    BIO_clear_flags(bio, ALL_RETRY_FLAGS);
    if (received < 0 && errno == EAGAIN)
        BIO_set_flags(bio, MAY_RETRY_READ);
    return (int)received;
}

static int tls_gather(void *bio, const char *data, int bytes)
{
    struct tls *tls = BIO_get_data(bio);
    size_t needed = tls->out_bytes + (size_t)bytes;
    if (needed > tls->out_room) {
        tls->out_room = 2 * needed;
        tls->out = realloc(tls->out, tls->out_room);
        if (!tls->out)
            fail("out of memory");
    }
    memcpy(tls->out + tls->out_bytes, data, (size_t)bytes);
    tls->out_bytes = needed;
    return bytes;
}

static long tls_control(void *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == FLUSH;
}

/* Whose certificate it is does not matter here, and finding out would make the client slower than
 * the servers that it asks. That the server has the key is still checked, in the handshake. */
static int tls_accept_certificate(void *store, void *argument)
{
    (void)store, (void)argument;
    return 1;
}

/* ---- what loadgen asks for ---- */

static void tls_prepare(void)
{
    void *library = dlopen("libssl.so.3", RTLD_NOW);
    if (!library)
        library = dlopen("libssl.so.1.1", RTLD_NOW);
    if (!library)
        fail("not available: there is no libssl.so.3 (Debian: apt-get install libssl3)");
#define LOAD(result, name, arguments) name = (result(*) arguments)tls_symbol(library, #name);
    TLS_FUNCTIONS(LOAD)

    tls_context = SSL_CTX_new(TLS_client_method());
    tls_bio_method = BIO_meth_new(SOURCE_AND_SINK, "gathering socket");
    if (!tls_context || !tls_bio_method)
        fail("OpenSSL gives no context");
    SSL_CTX_ctrl(tls_context, SET_READ_AHEAD, 1, NULL);
    SSL_CTX_set_default_read_buffer_len(tls_context, READ_AHEAD_BYTES);
    SSL_CTX_set_cert_verify_callback(tls_context, tls_accept_certificate, NULL);
    BIO_meth_set_read(tls_bio_method, tls_socket_read);
    BIO_meth_set_write(tls_bio_method, tls_gather);
    BIO_meth_set_ctrl(tls_bio_method, tls_control);
}

static struct tls *tls_open(int fd)
{
    struct tls *tls = calloc(1, sizeof *tls);
    void *bio = BIO_new(tls_bio_method);
    if (!tls || !bio || !(tls->ssl = SSL_new(tls_context)))
        fail("out of memory");
    tls->fd = fd;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_connect_state(tls->ssl);
    tls->is_to_resume = tls_session != NULL;
    if (tls_session && !SSL_set_session(tls->ssl, tls_session))
        fail("OpenSSL does not take the session that is to be resumed");
    return tls;
}

static int tls_has_unsent(const struct tls *tls)
{
    return tls->out_sent < tls->out_bytes;
}

static void tls_flush(struct tls *tls)
{
    while (tls_has_unsent(tls)) {
        size_t left = tls->out_bytes - tls->out_sent;
        ssize_t sent = send(tls->fd, tls->out + tls->out_sent, left, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0)
            fail("send: %s", strerror(errno));
        tls->out_sent += (size_t)sent;
    }
    tls->out_sent = tls->out_bytes = 0;
}

/* Returns what recv and send would: a number of bytes, 0 at the end, -1 and EAGAIN for later. */
static ssize_t tls_result(struct tls *tls, int result)
{
    if (result > 0)
        return result;
    char text[200] = "the server closed a connection without a word";
    int error = SSL_get_error(tls->ssl, result);
    if (error == ERROR_ZERO_RETURN)
        return 0;
    if (error == ERROR_WANT_READ || error == ERROR_WANT_WRITE) {
        errno = EAGAIN;
        return -1;
    }
    unsigned long why = ERR_get_error();
    if (why)
        ERR_error_string_n(why, text, sizeof text);
    fail("TLS: %s", text);
    return 0;
}

/* Encrypts all the data and sends what the socket takes. The handshake is made here too: until it
 * is done, nothing of the data is taken, and the answer is -1 and EAGAIN. */
static ssize_t tls_send(struct tls *tls, const char *data, size_t bytes)
{
    int written = bytes ? SSL_write(tls->ssl, data, (int)bytes) : 0;
    tls_flush(tls);
    return bytes ? tls_result(tls, written) : 0;
}

/* Notes the end of a record's head, which has just come whole. */
static void tls_begin_record(struct tls *tls)
{
    size_t bytes = (size_t)tls->head[3] << 8 | tls->head[4];
    if (tls->head[0] != APPLICATION_DATA || bytes <= RECORD_EXTRA_BYTES)
        fail("TLS: a record of type %d with %zu bytes is no answer", tls->head[0], bytes);
    tls->record_left = bytes;
    tls->record_data = bytes - RECORD_EXTRA_BYTES;
    tls->head_bytes = 0;
}

/* Returns how many bytes of data the records have that end within the bytes that came. */
static size_t tls_count_data(struct tls *tls, const unsigned char *arrived, size_t bytes)
{
    size_t data = 0;
    for (size_t at = 0; at < bytes;) {
        if (!tls->record_left) {
            tls->head[tls->head_bytes++] = arrived[at++];
            if (tls->head_bytes == RECORD_HEAD_BYTES)
                tls_begin_record(tls);
            continue;
        }
        size_t part = bytes - at < tls->record_left ? bytes - at : tls->record_left;
        at += part;
        tls->record_left -= part;
        if (!tls->record_left)
            data += tls->record_data;
    }
    return data;
}

/* As `tls_receive`, but counts the bytes of an answer instead of giving them. */
static ssize_t tls_receive_count(struct tls *tls)
{
    static unsigned char arrived[READ_AHEAD_BYTES];
    for (;;) {
        ssize_t bytes = recv(tls->fd, arrived, sizeof arrived, 0);
        if (bytes <= 0)
            return bytes;
        size_t data = tls_count_data(tls, arrived, (size_t)bytes);
        if (data)
            return (ssize_t)data;
    }
}

/* From here on answers are counted only. All that OpenSSL has read has been taken from it: nothing
 * can come after an answer before the next request. */
static void tls_count_from_now(struct tls *tls)
{
    tls->is_counting = SSL_version(tls->ssl) == TLS_1_3;
}

static ssize_t tls_receive(struct tls *tls, char *data, size_t bytes)
{
    if (tls->is_counting)
        return tls_receive_count(tls);
    return tls_result(tls, SSL_read(tls->ssl, data, (int)bytes));
}

/* The server's tickets have come with its first answer. The first of them is used again and again. */
static void tls_keep_session(struct tls *tls)
{
    if (!tls_session)
        tls_session = SSL_get1_session(tls->ssl);
}

static void tls_check_resumed(const struct tls *tls)
{
    if (SSL_session_reused(tls->ssl) != tls->is_to_resume)
        fail("the server %s a session", tls->is_to_resume ? "did not resume" : "resumed");
}

static void tls_close(struct tls *tls)
{
    SSL_shutdown(tls->ssl);
    tls_flush(tls);
    SSL_free(tls->ssl);
    free(tls->out);
    free(tls);
}
