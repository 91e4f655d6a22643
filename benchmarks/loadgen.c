/* loadgen: asks a server as fast as it answers, and says how fast that was.
 *
 *   loadgen --tcp PORT --connections 100 --request 1024 --seconds 1
 *   loadgen --unix PATH ...        loadgen --udp PORT ...
 *   loadgen --tcp PORT --mode churn ...      each request on a connection of its own
 *   loadgen --tcp PORT --tls ...             over TLS; with --resume each handshake but the first
 *                                            resumes the first session
 *   loadgen --tcp PORT --line 64 ...         a request is made of lines of so many bytes
 *   loadgen --tcp PORT --mode hold           reads totals from stdin, opens so many, holds them
 *
 * A closed loop: each connection sends one request, waits for the whole answer, and only then
 * sends the next. Before the clock starts, each connection makes one exchange whose bytes are
 * compared one by one. After that the number of answered bytes is checked.
 *
 * With --pid the processor time of that process is read at both ends of the measured time, so
 * that servers in any language are measured in the same way. One JSON line goes to stdout.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "loadgen_tls.h"

enum {
    EVENTS_MAX = 256,
    SILENCE_S_MAX = 5,       /* no answer for so long: the server is broken, say so and end */
    RESEND_AFTER_MS = 200,   /* a datagram may be lost, and then nobody would ever answer it */
    SOURCES = 250,           /* churn: source addresses 127.0.0.2 and up, so that ports last */
    STEPS_LOG2 = 6,          /* the histogram has 64 steps for each power of two: within 1.6 % */
    STEPS = 1 << STEPS_LOG2,
    BUCKETS = STEPS * (64 - STEPS_LOG2 + 1),
};

struct options {
    struct sockaddr_storage target;
    socklen_t target_bytes;
    int family, type;
    const char *mode;
    unsigned connections;
    size_t request_bytes, answer_bytes, line_bytes;
    double warm_up_s, seconds;
    int cpu, busy, tls, resume;
    pid_t pid;
};

struct connection {
    int fd, wants_out;
    struct tls *tls;
    size_t sent, received;
    uint64_t started_ns;
};

struct tally {
    uint64_t messages, resent;
    uint64_t histogram[BUCKETS];
};

static struct options options = {
    .mode = "echo", .connections = 1, .request_bytes = 64, .warm_up_s = 0.2, .seconds = 1,
    .cpu = -1,
};
static struct connection *connections;
static struct tally tally;
static int poller;
static unsigned opened_total;
static uint64_t heard_ns; /* when something last came from the server */
static char *request, *answer;

static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("loadgen: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) < 0)
        fail("clock_gettime: %s (did the server end?)", strerror(errno));
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* ---- latency histogram: exact below 64 ns, then 64 steps for each power of two ---- */

static unsigned bucket_of(uint64_t ns)
{
    if (ns < STEPS)
        return (unsigned)ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - STEPS_LOG2;
    return (shift + 1) * STEPS + (unsigned)((ns >> shift) & (STEPS - 1));
}

static double ns_of(unsigned bucket)
{
    if (bucket < STEPS)
        return bucket;
    unsigned shift = bucket / STEPS - 1;
    return ((double)(STEPS + bucket % STEPS) + 0.5) * (double)((uint64_t)1 << shift);
}

static double percentile_us(double part)
{
    uint64_t rank = (uint64_t)(part * (double)tally.messages), seen = 0;
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
        seen += tally.histogram[bucket];
        if (seen > rank)
            return ns_of(bucket) / 1000;
    }
    return 0;
}

/* ---- opening ---- */

static int is_churn(void)
{
    return !strcmp(options.mode, "churn");
}

/* A closed connection leaves its pair of ports in TIME_WAIT for a minute. One source address has
 * 28,000 ports, which would be used up in two seconds; so the source address goes round. */
static void bind_to_next_source(int fd)
{
    int on = 1;
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + opened_total % SOURCES);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0)
        fail("bind to a source address: %s", strerror(errno));
}

static void open_socket(struct connection *connection, int flags)
{
    int on = 1, fd = socket(options.family, options.type | flags | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket: %s (connection %u)", strerror(errno), opened_total);
    if (options.family == AF_INET && options.type == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (is_churn())
        bind_to_next_source(fd);
    opened_total++;
    int failed = connect(fd, (struct sockaddr *)&options.target, options.target_bytes);
    if (failed && errno != EINPROGRESS)
        fail("connect: %s (connection %u)", strerror(errno), opened_total);
    *connection = (struct connection){.fd = fd, .tls = options.tls ? tls_open(fd) : NULL};
}

static void watch(struct connection *connection, int how, unsigned events)
{
    struct epoll_event event = {.events = events | EPOLLET, .data.ptr = connection};
    if (epoll_ctl(poller, how, connection->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

/* ---- sending and receiving, with TLS or without ---- */

/* Over TLS a request is taken whole once the handshake is done, and then waits encrypted. */
static int wants_out(const struct connection *connection)
{
    return connection->tls ? tls_has_unsent(connection->tls)
                           : connection->sent < options.request_bytes;
}

static int has_unsent(const struct connection *connection)
{
    return connection->sent < options.request_bytes || wants_out(connection);
}

/* Sends as much of the request as goes now. */
static void send_part(struct connection *connection)
{
    const char *data = request + connection->sent;
    size_t left = options.request_bytes - connection->sent;
    ssize_t bytes = connection->tls ? tls_send(connection->tls, data, left)
                                    : send(connection->fd, data, left, MSG_NOSIGNAL);
    if (bytes < 0 && errno != EAGAIN)
        fail("send: %s", strerror(errno));
    connection->sent += bytes > 0 ? (size_t)bytes : 0;
}

/* Over TLS, a request that has not been taken waits for the handshake, which `send_part` makes. */
static int may_receive(const struct connection *connection)
{
    return !connection->tls || connection->sent == options.request_bytes;
}

static ssize_t receive_part(struct connection *connection, char *into, size_t bytes)
{
    return connection->tls ? tls_receive(connection->tls, into, bytes)
                           : recv(connection->fd, into, bytes, 0);
}

static void wait_for(const struct connection *connection)
{
    short events = wants_out(connection) ? POLLIN | POLLOUT : POLLIN;
    struct pollfd watched = {.fd = connection->fd, .events = events};
    if (!poll(&watched, 1, SILENCE_S_MAX * 1000))
        fail("no answer for %d s", SILENCE_S_MAX);
}

/* The first exchange of a connection, while nothing else runs: the server has accepted it once
 * this returns, and has answered with the right bytes. */
static void exchange_once(struct connection *connection)
{
    int is_echo = options.request_bytes == options.answer_bytes;
    while (connection->received < options.answer_bytes) {
        if (has_unsent(connection))
            send_part(connection);
        ssize_t bytes = -1;
        errno = EAGAIN;
        if (may_receive(connection))
            bytes = receive_part(connection, answer + connection->received,
                                 options.answer_bytes - connection->received);
        if (bytes < 0 && errno == EAGAIN)
            wait_for(connection);
        else if (bytes <= 0)
            fail("first answer: %s", bytes ? strerror(errno) : "the server closed");
        connection->received += bytes > 0 ? (size_t)bytes : 0;
    }
    if (is_echo && memcmp(request, answer, options.answer_bytes))
        fail("the echo differs from what was sent");
    if (options.resume)
        tls_keep_session(connection->tls);
    if (options.tls && !is_churn())
        tls_count_from_now(connection->tls);
}

static void open_and_check(struct connection *connection)
{
    open_socket(connection, SOCK_NONBLOCK);
    exchange_once(connection);
}

/* ---- the closed loop ---- */

static void send_more(struct connection *connection)
{
    send_part(connection);
    int wanted = wants_out(connection);
    if (wanted != connection->wants_out) {
        connection->wants_out = wanted;
        watch(connection, EPOLL_CTL_MOD, EPOLLIN | (wanted ? EPOLLOUT : 0));
    }
}

static void begin(struct connection *connection, uint64_t now)
{
    connection->sent = connection->received = 0;
    connection->started_ns = now;
    send_more(connection);
}

static void reopen(struct connection *connection)
{
    if (connection->tls) {
        tls_check_resumed(connection->tls);
        tls_close(connection->tls);
    }
    close(connection->fd);
    open_socket(connection, SOCK_NONBLOCK);
    watch(connection, EPOLL_CTL_ADD, EPOLLIN);
}

static void finish(struct connection *connection)
{
    uint64_t now = now_ns();
    tally.messages++;
    tally.histogram[bucket_of(now - connection->started_ns)]++;
    if (is_churn())
        reopen(connection);
    begin(connection, now);
}

/* One receive for each event is enough: edge-triggered, but nothing more can come before the
 * next request is sent, and a short receive has emptied the socket. A part of a long answer may
 * have filled what was asked for, so go on until it is short or complete. TLS gives one record at a
 * time, and may have more that it has read already, so there only EAGAIN says that it is empty. */
static void receive_more(struct connection *connection)
{
    while (connection->received < options.answer_bytes) {
        size_t left = options.answer_bytes - connection->received;
        ssize_t bytes = receive_part(connection, answer, left + 1);
        if (bytes < 0 && errno == EAGAIN)
            return;
        if (bytes <= 0)
            fail("receive: %s", bytes ? strerror(errno) : "the server closed a connection");
        if ((size_t)bytes > left)
            fail("the server answered more bytes than it was asked for");
        connection->received += (size_t)bytes;
        if ((size_t)bytes < left && !connection->tls)
            return;
    }
    finish(connection);
}

static void resend_lost(uint64_t now)
{
    for (unsigned i = 0; i < options.connections; i++) {
        struct connection *connection = &connections[i];
        if (now - connection->started_ns < RESEND_AFTER_MS * 1000000ull)
            continue;
        tally.resent++;
        begin(connection, now);
    }
}

static void run_until(uint64_t end_ns)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t now = now_ns(), looked_ns = now;

    while (now < end_ns) {
        int count = epoll_wait(poller, events, EVENTS_MAX, options.busy ? 0 : 10);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (has_unsent(connection))
                send_more(connection);
            if (events[i].events & ~(unsigned)EPOLLOUT && may_receive(connection))
                receive_more(connection);
        }
        now = now_ns();
        if (count > 0)
            heard_ns = now;
        else if (now - heard_ns > SILENCE_S_MAX * 1000000000ull)
            fail("no answer for %d s", SILENCE_S_MAX);
        if (options.type == SOCK_DGRAM && now - looked_ns > RESEND_AFTER_MS * 500000ull) {
            looked_ns = now;
            resend_lost(now);
        }
    }
}

static void load(void)
{
    for (unsigned i = 0; i < options.connections; i++) {
        open_and_check(&connections[i]);
        watch(&connections[i], EPOLL_CTL_ADD, EPOLLIN);
    }
    uint64_t start_ns = heard_ns = now_ns();
    for (unsigned i = 0; i < options.connections; i++)
        begin(&connections[i], start_ns);
    run_until(start_ns + (uint64_t)(options.warm_up_s * 1e9));
    memset(&tally, 0, sizeof tally);
}

static void measure(void)
{
    clockid_t server = CLOCK_MONOTONIC;
    if (options.pid && clock_getcpuclockid(options.pid, &server))
        fail("no processor clock for process %d", (int)options.pid);

    uint64_t server_ns = clock_ns(server), own_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t start_ns = now_ns();
    /* Longer than it was asked for, if nothing at all was answered: a figure, however coarse. */
    do
        run_until(now_ns() + (uint64_t)(options.seconds * 1e9));
    while (!tally.messages);
    uint64_t spent_ns = now_ns() - start_ns;
    server_ns = clock_ns(server) - server_ns;
    own_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own_ns;

    printf("{\"per_second\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f, \"messages\": %llu, "
           "\"resent\": %llu, \"loadgen_cpu_share\": %.3f",
           (double)tally.messages * 1e9 / (double)spent_ns, percentile_us(0.5),
           percentile_us(0.99), (unsigned long long)tally.messages,
           (unsigned long long)tally.resent, (double)own_ns / (double)spent_ns);
    if (options.pid)
        printf(", \"server_cpu_us\": %.4f, \"server_cpu_share\": %.3f",
               (double)server_ns / 1000 / (double)tally.messages,
               (double)server_ns / (double)spent_ns);
    printf("}\n");
}

/* Opens connections up to each total that is read from stdin, says so, and holds them. */
static void hold(void)
{
    unsigned total, have = 0;
    while (scanf("%u", &total) == 1) {
        if (total > options.connections)
            fail("asked to hold %u, but --connections is %u", total, options.connections);
        while (have < total)
            open_and_check(&connections[have++]);
        printf("held %u\n", have);
        fflush(stdout);
    }
}

/* ---- command line ---- */

static void target_port(const char *text, int type)
{
    struct sockaddr_in *target = (struct sockaddr_in *)&options.target;
    target->sin_family = AF_INET;
    target->sin_port = htons((uint16_t)atoi(text));
    target->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    options.target_bytes = sizeof *target;
    options.family = AF_INET;
    options.type = type;
}

static void target_path(const char *path)
{
    struct sockaddr_un *target = (struct sockaddr_un *)&options.target;
    if (strlen(path) >= sizeof target->sun_path)
        fail("the path of the socket is too long: %s", path);
    target->sun_family = AF_UNIX;
    strcpy(target->sun_path, path);
    options.target_bytes = sizeof *target;
    options.family = AF_UNIX;
    options.type = SOCK_STREAM;
}

static void take(int name, const char *value)
{
    switch (name) {
    case 't': target_port(value, SOCK_STREAM); break;
    case 'd': target_port(value, SOCK_DGRAM); break;
    case 'u': target_path(value); break;
    case 'm': options.mode = value; break;
    case 'n': options.connections = (unsigned)atoi(value); break;
    case 'r': options.request_bytes = (size_t)atoll(value); break;
    case 'a': options.answer_bytes = (size_t)atoll(value); break;
    case 'w': options.warm_up_s = atof(value); break;
    case 's': options.seconds = atof(value); break;
    case 'c': options.cpu = atoi(value); break;
    case 'p': options.pid = (pid_t)atoi(value); break;
    case 'b': options.busy = 1; break;
    case 'l': options.line_bytes = (size_t)atoll(value); break;
    case 'T': options.tls = 1; break;
    case 'R': options.tls = options.resume = 1; break;
    default: exit(2);
    }
}

static void parse(int count, char **words)
{
    static const struct option known[] = {
        {"tcp", 1, 0, 't'},         {"udp", 1, 0, 'd'},     {"unix", 1, 0, 'u'},
        {"mode", 1, 0, 'm'},        {"request", 1, 0, 'r'}, {"answer", 1, 0, 'a'},
        {"connections", 1, 0, 'n'}, {"warm-up", 1, 0, 'w'}, {"seconds", 1, 0, 's'},
        {"cpu", 1, 0, 'c'},         {"pid", 1, 0, 'p'},     {"busy", 0, 0, 'b'},
        {"tls", 0, 0, 'T'},         {"resume", 0, 0, 'R'}, {"line", 1, 0, 'l'},
        {0, 0, 0, 0},
    };
    int name;
    while ((name = getopt_long(count, words, "", known, NULL)) != -1)
        take(name, optarg);
    if (!options.target_bytes)
        fail("where to? Give --tcp PORT, --udp PORT or --unix PATH");
    if (!options.answer_bytes)
        options.answer_bytes = options.request_bytes;
}

/* Puts a newline at the end of each line of the request, and nowhere else. */
static void make_lines(void)
{
    for (size_t i = 0; i < options.request_bytes; i++) {
        if ((i + 1) % options.line_bytes == 0 || i + 1 == options.request_bytes)
            request[i] = '\n';
        else if (request[i] == '\n')
            request[i] = ' ';
    }
}

static void prepare(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);

    if (options.cpu >= 0) {
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        CPU_SET((size_t)options.cpu, &cpus);
        if (sched_setaffinity(0, sizeof cpus, &cpus) < 0)
            fail("cannot run on processor %d: %s", options.cpu, strerror(errno));
    }
    if (options.tls)
        tls_prepare();
    poller = epoll_create1(EPOLL_CLOEXEC);
    connections = calloc(options.connections, sizeof *connections);
    request = malloc(options.request_bytes);
    answer = malloc(options.answer_bytes + 1);
    if (poller < 0 || !connections || !request || !answer)
        fail("out of memory or descriptors");
    for (size_t i = 0; i < options.request_bytes; i++)
        request[i] = (char)(i * 131 + i / 251);
    if (options.line_bytes)
        make_lines();
}

int main(int count, char **words)
{
    parse(count, words);
    prepare();
    if (!strcmp(options.mode, "hold")) {
        hold();
        return 0;
    }
    load();
    measure();
    return 0;
}
