/* echo_epoll: the least a server can do, as the limit for the event loops.
 *
 *   echo_epoll --tcp | --unix PATH | --udp  [--level]
 *
 * Prints "port N" (0 for a Unix socket) once it listens, and echoes until it is killed. One thread,
 * epoll, edge-triggered: a receive that fills less than the buffer has emptied the socket, so that
 * an exchange costs one receive and one send. --level is the level-triggered way; it was measured
 * to be no faster.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EVENTS_MAX = 256, BUFFER_BYTES = 256 * 1024, BACKLOG = 4096 };

/* What could not be sent yet. While it is there, nothing more is received from this peer. */
struct peer {
    int fd;
    size_t left_bytes, left_at;
    char *left;
};

static char buffer[BUFFER_BYTES];
static unsigned trigger = EPOLLET;
static int poller;

static void fail(const char *what)
{
    fprintf(stderr, "echo_epoll: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(struct peer *peer, int how, unsigned events)
{
    struct epoll_event event = {.events = events | trigger, .data.ptr = peer};
    if (epoll_ctl(poller, how, peer->fd, &event) < 0)
        fail("epoll_ctl");
}

static void drop(struct peer *peer)
{
    close(peer->fd);
    free(peer->left);
    free(peer);
}

static void accept_all(int listener)
{
    int on = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct peer *peer = calloc(1, sizeof *peer);
        if (!peer)
            fail("calloc");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        peer->fd = fd;
        watch(peer, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static int keep(struct peer *peer, const char *bytes, size_t count)
{
    peer->left = malloc(count);
    if (!peer->left)
        fail("malloc");
    memcpy(peer->left, bytes, count);
    peer->left_bytes = count;
    peer->left_at = 0;
    watch(peer, EPOLL_CTL_MOD, EPOLLOUT);
    return 0;
}

/* Returns whether everything has gone out, so that receiving may go on; -1 for a lost peer. */
static int send_left(struct peer *peer)
{
    while (peer->left_at < peer->left_bytes) {
        ssize_t sent = send(peer->fd, peer->left + peer->left_at,
                            peer->left_bytes - peer->left_at, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN ? 0 : -1;
        peer->left_at += (size_t)sent;
    }
    free(peer->left);
    peer->left = NULL;
    watch(peer, EPOLL_CTL_MOD, EPOLLIN);
    return 1;
}

/* Echoes what there is. Returns -1 when the peer is gone. */
static int echo(struct peer *peer)
{
    for (;;) {
        ssize_t received = recv(peer->fd, buffer, sizeof buffer, 0);
        if (received < 0)
            return errno == EAGAIN ? 0 : -1;
        if (received == 0)
            return -1;
        ssize_t sent = send(peer->fd, buffer, (size_t)received, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return -1;
        if (sent < received) {
            size_t done = sent > 0 ? (size_t)sent : 0;
            return keep(peer, buffer + done, (size_t)received - done);
        }
        if (received < BUFFER_BYTES)
            return 0;
    }
}

static void serve_streams(int listener)
{
    struct epoll_event events[EVENTS_MAX];
    struct peer door = {.fd = listener};
    watch(&door, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            struct peer *peer = events[i].data.ptr;
            if (peer == &door) {
                accept_all(listener);
                continue;
            }
            int may_receive = peer->left ? send_left(peer) : 1;
            if (may_receive < 0 || (may_receive && echo(peer) < 0))
                drop(peer);
        }
    }
}

static void serve_datagrams(int fd)
{
    struct epoll_event event;
    struct peer door = {.fd = fd};
    struct sockaddr_in from;
    watch(&door, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        epoll_wait(poller, &event, 1, -1);
        for (;;) {
            socklen_t from_bytes = sizeof from;
            ssize_t received = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&from,
                                        &from_bytes);
            if (received < 0)
                break;
            sendto(fd, buffer, (size_t)received, 0, (struct sockaddr *)&from, from_bytes);
        }
    }
}

static int bound_socket(int type, const char *path)
{
    struct sockaddr_in port = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct sockaddr *address = (struct sockaddr *)&port;
    socklen_t address_bytes = sizeof port;
    if (path) {
        strncpy(name.sun_path, path, sizeof name.sun_path - 1);
        address = (struct sockaddr *)&name;
        address_bytes = sizeof name;
    }
    int fd = socket(address->sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, address, address_bytes) < 0)
        fail("bind");
    if (type == SOCK_STREAM && listen(fd, BACKLOG) < 0)
        fail("listen");
    if (!path)
        getsockname(fd, address, &address_bytes);
    printf("port %d\n", ntohs(port.sin_port));
    fflush(stdout);
    return fd;
}

int main(int count, char **words)
{
    const char *path = NULL;
    int type = SOCK_STREAM;
    struct rlimit limit;
    for (int i = 1; i < count; i++) {
        if (!strcmp(words[i], "--udp"))
            type = SOCK_DGRAM;
        else if (!strcmp(words[i], "--unix") && i + 1 < count)
            path = words[++i];
        else if (!strcmp(words[i], "--level"))
            trigger = 0;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    poller = epoll_create1(EPOLL_CLOEXEC);
    int fd = bound_socket(type, path);
    type == SOCK_STREAM ? serve_streams(fd) : serve_datagrams(fd);
    return 0;
}
