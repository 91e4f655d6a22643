/* The kernel as the core sees it: io_uring's structures and numbers, atomics, clocks.
 *
 * Kernel headers on build machines are often older than the kernels that run the result, so the
 * io_uring interface is written down here instead of being taken from <linux/io_uring.h>. Every
 * number below is kernel ABI and never changes; what a kernel supports is asked at run time.
 * Source: io_uring_setup(2), io_uring_enter(2), io_uring_register(2).
 */
#ifndef MEANTIME_KERNEL_H
#define MEANTIME_KERNEL_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef __NR_io_uring_setup
#define __NR_io_uring_setup 425
#define __NR_io_uring_enter 426
#define __NR_io_uring_register 427
#endif
#ifndef POLLRDHUP
#define POLLRDHUP 0x2000
#endif

enum {
    RING_OP_FSYNC = 3,
    RING_OP_POLL_ADD = 6,
    RING_OP_ASYNC_CANCEL = 14,
    RING_OP_READ = 22,
    RING_OP_WRITE = 23,
};

enum {
    RING_SETUP_CQSIZE = 1u << 3,
    RING_SETUP_CLAMP = 1u << 4,
    RING_SETUP_R_DISABLED = 1u << 6,
    RING_SETUP_SUBMIT_ALL = 1u << 7,
    RING_SETUP_COOP_TASKRUN = 1u << 8,
    RING_SETUP_TASKRUN_FLAG = 1u << 9,
    RING_SETUP_SINGLE_ISSUER = 1u << 12,
    RING_SETUP_DEFER_TASKRUN = 1u << 13,
};

enum {
    RING_FEAT_SINGLE_MMAP = 1u << 0,
    RING_FEAT_NODROP = 1u << 1,
    RING_FEAT_EXT_ARG = 1u << 8,
    RING_FEAT_CQE_SKIP = 1u << 11,
    RING_FEAT_NO_IOWAIT = 1u << 17,
};

enum {
    RING_ENTER_GETEVENTS = 1u << 0,
    RING_ENTER_EXT_ARG = 1u << 3,
    RING_ENTER_NO_IOWAIT = 1u << 7,
};

enum {
    RING_SQ_CQ_OVERFLOW = 1u << 1,
    RING_SQ_TASKRUN = 1u << 2,
};

enum {
    RING_FSYNC_DATASYNC = 1u << 0,
    RING_POLL_MULTISHOT = 1u << 0,
    RING_SQE_SKIP_SUCCESS = 1u << 6,
    RING_CQE_MORE = 1u << 1,
    RING_REGISTER_ENABLE_RINGS = 12,
};

#define RING_OFFSET_RINGS 0ULL
#define RING_OFFSET_SQES 0x10000000ULL

struct ring_sqe {
    uint8_t opcode;
    uint8_t flags;
    uint16_t priority;
    int32_t fd;
    uint64_t offset;
    uint64_t address;
    uint32_t length;
    uint32_t operation_flags; /* poll32_events for POLL_ADD */
    uint64_t user_data;
    uint64_t rest[3];
};

struct ring_cqe {
    uint64_t user_data;
    int32_t result;
    uint32_t flags;
};

struct ring_sq_offsets {
    uint32_t head, tail, mask, entries, flags, dropped, array, reserved;
    uint64_t user_address;
};

struct ring_cq_offsets {
    uint32_t head, tail, mask, entries, overflow, cqes, flags, reserved;
    uint64_t user_address;
};

struct ring_params {
    uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd;
    uint32_t reserved[3];
    struct ring_sq_offsets sq;
    struct ring_cq_offsets cq;
};

struct ring_timespec {
    int64_t seconds;
    long long nanoseconds;
};

struct ring_enter_arg {
    uint64_t signal_mask;
    uint32_t signal_mask_size;
    uint32_t min_wait_us;
    uint64_t timeout;
};

static inline int ring_setup(unsigned entries, struct ring_params *params)
{
    return (int)syscall(__NR_io_uring_setup, entries, params);
}

static inline int ring_enter(int fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                             const struct ring_enter_arg *arg)
{
    return (int)syscall(__NR_io_uring_enter, fd, to_submit, min_complete, flags, arg,
                        arg == NULL ? (size_t)0 : sizeof *arg);
}

static inline int ring_enable(int fd)
{
    return (int)syscall(__NR_io_uring_register, fd, RING_REGISTER_ENABLE_RINGS, NULL, 0);
}

/* poll32_events is two 16-bit halves in the order of a little-endian machine. */
static inline uint32_t ring_poll_mask(uint32_t events)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (events << 16) | (events >> 16);
#else
    return events;
#endif
}

/* What a descriptor is ready for at this moment, of these events. What cannot be told counts as
   ready: whoever acts upon it then meets the error. */
static inline uint32_t events_now(int fd, uint32_t events)
{
    struct pollfd asked = {.fd = fd, .events = (short)events};
    if (poll(&asked, 1, 0) < 0 || asked.revents & POLLNVAL)
        return events;
    return (uint32_t)(unsigned short)asked.revents;
}

static inline uint32_t load_acquire_u32(const uint32_t *address)
{
    return __atomic_load_n(address, __ATOMIC_ACQUIRE);
}

static inline void store_release_u32(uint32_t *address, uint32_t value)
{
    __atomic_store_n(address, value, __ATOMIC_RELEASE);
}

static inline int exchange_int(int *address, int value)
{
    return __atomic_exchange_n(address, value, __ATOMIC_SEQ_CST);
}

/* A number that no other thread of this process has, or ever had. What pthread_self() gives is
 * given out again as soon as a thread ends. */
static inline uint64_t thread_number(void)
{
    static uint64_t given;
    static __thread uint64_t own;
    if (own == 0)
        own = __atomic_add_fetch(&given, 1, __ATOMIC_RELAXED);
    return own;
}

static inline int64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The same clock as time.monotonic(), converted in the same way, so that the two compare. */
static inline double monotonic_s(void)
{
    return (double)monotonic_ns() * 1e-9;
}

#ifndef __NR_epoll_pwait2
#define __NR_epoll_pwait2 441
#endif

/* Wait with a bound in nanoseconds (negative: none). epoll_pwait2(2) came with Linux 5.11; before
 * it, milliseconds are rounded up, so that a timer is never early and never spins. */
static inline int epoll_wait_ns(int epoll_fd, struct epoll_event *events, int events_max,
                                int64_t timeout_ns)
{
    static int has_pwait2 = 1;
    if (timeout_ns > 0 && has_pwait2) {
        int64_t bound[2] = {timeout_ns / 1000000000, timeout_ns % 1000000000};
        long count = syscall(__NR_epoll_pwait2, epoll_fd, events, events_max, bound, NULL, 0);
        if (count >= 0 || (errno != ENOSYS && errno != EPERM))
            return (int)count;
        has_pwait2 = 0;
    }
    int64_t timeout_ms = timeout_ns <= 0 ? timeout_ns : (timeout_ns + 999999) / 1000000;
    if (timeout_ms > INT_MAX)
        timeout_ms = INT_MAX;
    return epoll_wait(epoll_fd, events, events_max, timeout_ms < 0 ? -1 : (int)timeout_ms);
}

#endif
