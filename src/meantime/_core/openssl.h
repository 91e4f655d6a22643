/* OpenSSL as the direct TLS engine sees it: the functions of the very library that this Python's
 * _ssl module uses, found when the program runs.
 *
 * Nothing is linked and no header of OpenSSL's is needed to build: what is written down here is
 * its stable interface, the same in 1.1.1 and in all of 3.x. Source: SSL_read(3), SSL_write(3),
 * SSL_shutdown(3), SSL_get_error(3), BIO_meth_new(3), BIO_ctrl(3).
 */
#ifndef MEANTIME_OPENSSL_H
#define MEANTIME_OPENSSL_H

#include <Python.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TLS_ERROR_WANT_READ = 2,
    TLS_ERROR_WANT_WRITE = 3,
    TLS_ERROR_ZERO_RETURN = 6,
};

enum {
    PIPE_TYPE = 0x0400, /* BIO_TYPE_SOURCE_SINK */
    PIPE_FLAGS_READ = 0x01,
    PIPE_FLAGS_ALL = 0x0f, /* read, write, io_special, should_retry */
    PIPE_FLAGS_RETRY = 0x08,
    PIPE_CTRL_PENDING = 10,
    PIPE_CTRL_FLUSH = 11,
};

typedef struct ssl_st tls_state;
typedef struct bio_st tls_pipe;
typedef struct bio_method_st tls_pipe_method;

#define OPENSSL_FUNCTIONS(X)                                                                  \
    X(int, SSL_read, (tls_state *, void *, int))                                              \
    X(int, SSL_write, (tls_state *, const void *, int))                                       \
    X(int, SSL_shutdown, (tls_state *))                                                       \
    X(int, SSL_get_error, (const tls_state *, int))                                           \
    X(int, SSL_pending, (const tls_state *))                                                  \
    X(int, SSL_up_ref, (tls_state *))                                                         \
    X(void, SSL_free, (tls_state *))                                                          \
    X(tls_pipe *, SSL_get_rbio, (const tls_state *))                                          \
    X(tls_pipe *, SSL_get_wbio, (const tls_state *))                                          \
    X(void, SSL_set_bio, (tls_state *, tls_pipe *, tls_pipe *))                               \
    X(tls_pipe *, BIO_new, (const tls_pipe_method *))                                         \
    X(void, BIO_set_data, (tls_pipe *, void *))                                               \
    X(void *, BIO_get_data, (tls_pipe *))                                                     \
    X(void, BIO_set_init, (tls_pipe *, int))                                                  \
    X(void, BIO_set_flags, (tls_pipe *, int))                                                 \
    X(void, BIO_clear_flags, (tls_pipe *, int))                                               \
    X(tls_pipe_method *, BIO_meth_new, (int, const char *))                                   \
    X(int, BIO_get_new_index, (void))                                                         \
    X(int, BIO_meth_set_read, (tls_pipe_method *, int (*)(tls_pipe *, char *, int)))          \
    X(int, BIO_meth_set_write, (tls_pipe_method *, int (*)(tls_pipe *, const char *, int)))   \
    X(int, BIO_meth_set_ctrl,                                                                 \
      (tls_pipe_method *, long (*)(tls_pipe *, int, long, void *)))                           \
    X(int, BIO_meth_set_destroy, (tls_pipe_method *, int (*)(tls_pipe *)))                    \
    X(void, ERR_clear_error, (void))                                                          \
    X(unsigned long, ERR_peek_error, (void))                                                  \
    X(unsigned long, OpenSSL_version_num, (void))

#define DECLARE_FUNCTION(result, name, arguments) result(*name) arguments;
static struct {
    OPENSSL_FUNCTIONS(DECLARE_FUNCTION)
} openssl;
#undef DECLARE_FUNCTION

static tls_pipe_method *wire_method;

/* What one connection has from its peer and has not decrypted, and what it is to send. OpenSSL
 * reads and writes it through a BIO of our own, which owns it: it lives as long as the SSL does,
 * also if the program keeps the SSLObject longer than the transport. */
struct wire {
    const char *in; /* in `held`, or the caller's memory while it feeds us */
    size_t in_left;
    char *held;
    char *out;
    size_t out_size;
    size_t out_room;
};

static int wire_read(tls_pipe *pipe, char *buffer, int room)
{
    struct wire *wire = openssl.BIO_get_data(pipe);
    openssl.BIO_clear_flags(pipe, PIPE_FLAGS_ALL);
    if (wire == NULL || room <= 0)
        return 0;
    if (wire->in_left == 0) {
        openssl.BIO_set_flags(pipe, PIPE_FLAGS_READ | PIPE_FLAGS_RETRY);
        return -1;
    }
    if ((size_t)room > wire->in_left)
        room = (int)wire->in_left;
    memcpy(buffer, wire->in, (size_t)room);
    wire->in += room;
    wire->in_left -= (size_t)room;
    return room;
}

/* Make room for `size` more bytes. Returns 0 when there is no memory. */
static int wire_reserve(struct wire *wire, size_t size)
{
    if (wire->out_room - wire->out_size >= size)
        return 1;
    size_t room = wire->out_size + size;
    if (wire->out != NULL && room < 2 * wire->out_room)
        room = 2 * wire->out_room;
    char *out = realloc(wire->out, room);
    if (out == NULL)
        return 0;
    wire->out = out;
    wire->out_room = room;
    return 1;
}

static int wire_write(tls_pipe *pipe, const char *data, int size)
{
    struct wire *wire = openssl.BIO_get_data(pipe);
    openssl.BIO_clear_flags(pipe, PIPE_FLAGS_ALL);
    if (wire == NULL || size < 0 || !wire_reserve(wire, (size_t)size))
        return -1;
    memcpy(wire->out + wire->out_size, data, (size_t)size);
    wire->out_size += (size_t)size;
    return size;
}

static long wire_control(tls_pipe *pipe, int command, long number, void *pointer)
{
    struct wire *wire = openssl.BIO_get_data(pipe);
    (void)number, (void)pointer;
    if (command == PIPE_CTRL_FLUSH)
        return 1;
    if (command == PIPE_CTRL_PENDING && wire != NULL)
        return (long)wire->in_left;
    return 0;
}

static int wire_destroy(tls_pipe *pipe)
{
    struct wire *wire = openssl.BIO_get_data(pipe);
    if (wire != NULL) {
        free(wire->held);
        free(wire->out);
        free(wire);
        openssl.BIO_set_data(pipe, NULL);
    }
    return 1;
}

/* Give OpenSSL `size` bytes to read, which stay the caller's. Returns 0 when there is no memory. */
static int wire_feed(struct wire *wire, const char *data, size_t size)
{
    if (wire->in_left == 0) {
        free(wire->held);
        wire->held = NULL;
        wire->in = data;
        wire->in_left = size;
        return 1;
    }
    char *joined = malloc(wire->in_left + size);
    if (joined == NULL)
        return 0;
    memcpy(joined, wire->in, wire->in_left);
    memcpy(joined + wire->in_left, data, size);
    free(wire->held);
    wire->held = joined;
    wire->in = joined;
    wire->in_left += size;
    return 1;
}

/* Keep what was not read, because the memory it stands in is about to be used again. Returns 0
 * when there is no memory. */
static int wire_settle(struct wire *wire)
{
    if (wire->in_left == 0) {
        free(wire->held);
        wire->held = NULL;
        wire->in = NULL;
        return 1;
    }
    if (wire->held != NULL)
        return 1; /* feed() has joined everything in there */
    wire->held = malloc(wire->in_left);
    if (wire->held == NULL)
        return 0;
    memcpy(wire->held, wire->in, wire->in_left);
    wire->in = wire->held;
    return 1;
}

/* Hand over what is to be sent. Whoever takes it frees it. */
static char *wire_take(struct wire *wire, size_t *size)
{
    char *out = wire->out;
    *size = wire->out_size;
    wire->out = NULL;
    wire->out_size = wire->out_room = 0;
    return out;
}

/* Put a wire of our own in the place of the SSL's memory BIOs. Returns NULL without memory. */
static struct wire *wire_lay(tls_state *ssl)
{
    struct wire *wire = calloc(1, sizeof *wire);
    tls_pipe *pipe = wire == NULL ? NULL : openssl.BIO_new(wire_method);
    if (pipe == NULL) {
        free(wire);
        return NULL;
    }
    openssl.BIO_set_data(pipe, wire);
    openssl.BIO_set_init(pipe, 1);
    openssl.SSL_set_bio(ssl, pipe, pipe);
    return wire;
}

/* Forget what an earlier call, anybody's, has left: it would be taken for an error of the next one.
 * To look first is much cheaper than to clear a queue that is empty anyway. */
static inline void forget_errors(void)
{
    if (openssl.ERR_peek_error() != 0)
        openssl.ERR_clear_error();
}

/* Find OpenSSL's functions where the extension module `path` finds them. Returns NULL, or the name
 * of what is missing. */
static const char *openssl_load(const char *path)
{
    void *module;
    if (wire_method != NULL)
        return NULL;
    module = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    if (module == NULL)
        return path;
#define FIND_FUNCTION(result, name, arguments)                                                \
    if ((*(void **)&openssl.name = dlsym(module, #name)) == NULL) {                           \
        dlclose(module);                                                                      \
        return #name;                                                                         \
    }
    OPENSSL_FUNCTIONS(FIND_FUNCTION)
#undef FIND_FUNCTION
    /* The module stays open: Python never unloads it either. */
    tls_pipe_method *made =
        openssl.BIO_meth_new(openssl.BIO_get_new_index() | PIPE_TYPE, "meantime");
    if (made == NULL || !openssl.BIO_meth_set_read(made, wire_read)
        || !openssl.BIO_meth_set_write(made, wire_write)
        || !openssl.BIO_meth_set_ctrl(made, wire_control)
        || !openssl.BIO_meth_set_destroy(made, wire_destroy))
        return "BIO_meth_new";
    wire_method = made;
    return NULL;
}

/* The first field of a _ssl.MemoryBIO, and the second one of a _ssl._SSLSocket. That they are
 * there is what looks_like_ssl() is asked before anything is trusted. */
static inline void *field_of(PyObject *object, int index)
{
    return ((void **)((char *)object + sizeof(PyObject)))[index];
}

/* Tell whether `candidate` points to memory that begins like an SSL with these two BIOs. The
 * kernel copies the memory, so that a pointer to nowhere is an error and not a crash. */
static int looks_like_ssl(const void *candidate, const void *read_pipe, const void *write_pipe)
{
    const void *words[32] = {0};
    int ends[2], found = 0;
    if (candidate == NULL || (uintptr_t)candidate % sizeof(void *) != 0)
        return 0;
    if (read_pipe == NULL || write_pipe == NULL || read_pipe == write_pipe)
        return 0;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return 0;
    if (write(ends[1], candidate, sizeof words) == (ssize_t)sizeof words
        && read(ends[0], words, sizeof words) == (ssize_t)sizeof words)
        for (int index = 0; index + 1 < 32; index++)
            if (words[index] == read_pipe && words[index + 1] == write_pipe)
                found = 1;
    close(ends[0]);
    close(ends[1]);
    return found;
}

#endif
