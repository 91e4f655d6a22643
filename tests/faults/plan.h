/* The plan of the faults, and how the kernel is made to keep its promises. See faults.c. */
#ifndef MEANTIME_TESTS_PLAN_H
#define MEANTIME_TESTS_PLAN_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef TCP_NOTSENT_LOWAT
#define TCP_NOTSENT_LOWAT 25
#endif

/* ---- The plan */

enum { RULES_MAX = 64, PIECES_MAX = 1024 };

/* Faults that are no errors. */
enum { SHORT = -1, SPURIOUS = -2 };

struct rule {
    const char *call;
    int fault, fd;
    unsigned chance_ppm;
    long after, times;
    unsigned long injected;
};

static struct rule rules[RULES_MAX];
static int rule_count;
static uint64_t dice = 1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* A number from 0 up to, but without, `bound`: xorshift64*. */
static uint64_t below(uint64_t bound)
{
    dice ^= dice >> 12;
    dice ^= dice << 25;
    dice ^= dice >> 27;
    return ((dice * 0x2545F4914F6CDD1DULL) >> 11) % bound;
}

void faults_seed(uint64_t seed)
{
    dice = seed * 0x9E3779B97F4A7C15ULL + 1;
}

/* Plan a fault. `times` below 0 has no bound; `fd` below 0 means every descriptor. Returns the
 * number of the rule, or -1 when there are too many. `call` must stay where it is. */
int faults_add(const char *call, int fault, unsigned chance_ppm, long after, long times, int fd)
{
    int number = -1;
    pthread_mutex_lock(&lock);
    if (rule_count < RULES_MAX) {
        number = rule_count++;
        rules[number] = (struct rule){call, fault, fd, chance_ppm, after, times, 0};
    }
    pthread_mutex_unlock(&lock);
    return number;
}

void faults_clear(void)
{
    pthread_mutex_lock(&lock);
    rule_count = 0;
    pthread_mutex_unlock(&lock);
}

unsigned long faults_injected(int number)
{
    return rules[number].injected;
}

/* Return the rule whose turn it is, or NULL. */
static struct rule *draw(const char *call, int fd)
{
    struct rule *found = NULL;
    pthread_mutex_lock(&lock);
    for (int number = 0; number < rule_count && found == NULL; number++) {
        struct rule *rule = &rules[number];
        if (strcmp(rule->call, call) != 0 || rule->times == 0)
            continue;
        if (rule->fd >= 0 && rule->fd != fd)
            continue;
        if (rule->after > 0) {
            rule->after--;
            continue;
        }
        if (rule->chance_ppm >= 1000000 || below(1000000) < rule->chance_ppm)
            found = rule;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void done(struct rule *rule)
{
    pthread_mutex_lock(&lock);
    rule->injected++;
    if (rule->times > 0)
        rule->times--;
    pthread_mutex_unlock(&lock);
}

/* ---- Making the kernel tell again */

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;
    return getsockopt(fd, level, name, &value, &length) == 0 ? value : -1;
}

static int is_tcp(int fd)
{
    int domain = option(fd, SOL_SOCKET, SO_DOMAIN);
    return (domain == AF_INET || domain == AF_INET6)
        && option(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM;
}

/* Have the kernel announce, as an edge, what a socket is ready for now. Setting these options, to
 * what they are already, makes it look: tcp_set_rcvlowat, TCP_NOTSENT_LOWAT and SO_SNDBUF in
 * Linux's net/. The last one announces room only, but who watches for both is told of both: epoll
 * looks again before it answers, and io_uring does so when it is woken twice. */
static void tell(int fd, short what)
{
    int saved = errno, value;
    if (is_tcp(fd) && what == POLLIN) {
        value = 1;
        setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value);
    } else if (is_tcp(fd)) {
        value = option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT);
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, sizeof value);
    } else {
        value = option(fd, SOL_SOCKET, SO_SNDBUF) / 2;
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof value);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof value);
    }
    errno = saved;
}

/* Whether `tell` will do it. To ask for room by poll(2) also makes TCP announce it when it comes. */
static int can_tell(int fd, short what)
{
    struct pollfd look = {.fd = fd, .events = POLLIN | POLLOUT};
    if (option(fd, SOL_SOCKET, SO_TYPE) < 0 || poll(&look, 1, 0) < 0)
        return 0;
    if (look.revents & (POLLERR | POLLHUP | POLLNVAL))
        return 0;
    if (what == POLLOUT)
        return 1;
    return (look.revents & POLLIN) && (is_tcp(fd) || (look.revents & POLLOUT));
}

/* Whether the call fails by this rule, with errno set. */
static int fails(struct rule *rule, int fd, short what)
{
    if (rule == NULL || rule->fault <= 0)
        return 0;
    if (rule->fault == EAGAIN && what != 0) {
        if (!can_tell(fd, what))
            return 0;
        tell(fd, what);
    }
    done(rule);
    errno = rule->fault;
    return 1;
}

static int is_short(struct rule *rule, int fd, short what)
{
    return rule != NULL && rule->fault == SHORT && can_tell(fd, what);
}

/* How many of `size` bytes a short read gets: fewer than there are. 0 when that is not possible. */
static size_t read_size(int fd, size_t size)
{
    int waiting = 0;
    if (ioctl(fd, FIONREAD, &waiting) < 0)
        return 0;
    if ((size_t)waiting < size)
        size = (size_t)waiting;
    return size < 2 ? 0 : 1 + below(size - 1);
}

static ssize_t after_short(struct rule *rule, int fd, short what, ssize_t count)
{
    if (count > 0) {
        tell(fd, what);
        done(rule);
    }
    return count;
}

static size_t size_of(const struct iovec *pieces, size_t count)
{
    size_t size = 0;
    for (size_t index = 0; index < count; index++)
        size += pieces[index].iov_len;
    return size;
}

/* Copy the pieces that make up the first `size` bytes. Returns how many there are. */
static size_t first_pieces(struct iovec *out, const struct iovec *pieces, size_t count, size_t size)
{
    size_t used = 0;
    while (used < count && used < PIECES_MAX && size > 0) {
        out[used] = pieces[used];
        if (out[used].iov_len > size)
            out[used].iov_len = size;
        size -= out[used].iov_len;
        used++;
    }
    return used;
}

#endif
