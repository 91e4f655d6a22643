"""What the core takes from C: kernel.h and the few system calls that it makes itself."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "kernel.h" nogil:
    unsigned RING_OP_FSYNC, RING_OP_POLL_ADD, RING_OP_ASYNC_CANCEL, RING_OP_READ, RING_OP_WRITE
    unsigned RING_FSYNC_DATASYNC
    int ECANCELED
    unsigned RING_SETUP_CQSIZE, RING_SETUP_CLAMP, RING_SETUP_R_DISABLED, RING_SETUP_SUBMIT_ALL
    unsigned RING_SETUP_COOP_TASKRUN, RING_SETUP_TASKRUN_FLAG
    unsigned RING_SETUP_SINGLE_ISSUER, RING_SETUP_DEFER_TASKRUN
    unsigned RING_FEAT_SINGLE_MMAP, RING_FEAT_NODROP, RING_FEAT_EXT_ARG
    unsigned RING_FEAT_CQE_SKIP, RING_FEAT_NO_IOWAIT
    unsigned RING_ENTER_GETEVENTS, RING_ENTER_EXT_ARG, RING_ENTER_NO_IOWAIT
    unsigned RING_SQ_CQ_OVERFLOW, RING_SQ_TASKRUN
    unsigned RING_POLL_MULTISHOT, RING_SQE_SKIP_SUCCESS, RING_CQE_MORE
    uint64_t RING_OFFSET_RINGS, RING_OFFSET_SQES

    struct ring_sqe:
        uint8_t opcode
        uint8_t flags
        int32_t fd
        uint64_t offset
        uint64_t address
        uint32_t length
        uint32_t operation_flags
        uint64_t user_data

    struct ring_cqe:
        uint64_t user_data
        int32_t result
        uint32_t flags

    struct ring_sq_offsets:
        uint32_t head, tail, mask, entries, flags, dropped, array

    struct ring_cq_offsets:
        uint32_t head, tail, mask, entries, overflow, cqes, flags

    struct ring_params:
        uint32_t sq_entries, cq_entries, flags, features
        ring_sq_offsets sq
        ring_cq_offsets cq

    struct ring_timespec:
        int64_t seconds
        long long nanoseconds

    struct ring_enter_arg:
        uint64_t signal_mask
        uint32_t signal_mask_size
        uint32_t min_wait_us
        uint64_t timeout

    int ring_setup(unsigned entries, ring_params *params)
    int ring_enter(int fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                   const ring_enter_arg *arg)
    int ring_enable(int fd)
    uint32_t ring_poll_mask(uint32_t events)
    uint32_t events_now(int fd, uint32_t events)
    uint32_t load_acquire_u32(const uint32_t *address)
    void store_release_u32(uint32_t *address, uint32_t value)
    int exchange_int(int *address, int value)
    uint64_t thread_number()
    int64_t monotonic_ns()
    double monotonic_s()

    unsigned POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP, POLLRDHUP

    unsigned EPOLLET, EPOLLONESHOT
    int EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLL_CLOEXEC
    union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event)
    int epoll_wait_ns(int epfd, epoll_event *events, int events_max, int64_t timeout_ns)

    int EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned initial, int flags)
    int eventfd_write(int fd, uint64_t value)

    int PROT_READ, PROT_WRITE, MAP_SHARED, MAP_POPULATE
    void *MAP_FAILED
    void *mmap(void *address, size_t length, int protection, int flags, int fd, uint64_t offset)
    int munmap(void *address, size_t length)
    int close(int fd)
    int F_GETFD, F_GETFL, O_APPEND
    int fcntl(int fd, int command)

    ctypedef struct stat_t "struct stat":
        unsigned st_mode
    int fstat(int fd, stat_t *result)
    bint S_ISREG(unsigned mode)
    bint S_ISDIR(unsigned mode)
    bint S_ISFIFO(unsigned mode)
    bint S_ISSOCK(unsigned mode)
    bint S_ISCHR(unsigned mode)

    int F_DUPFD_CLOEXEC, F_GETFL, O_DIRECT
    int fcntl(int fd, int command, ...)
    int isatty(int fd)
    ssize_t read(int fd, void *buffer, size_t size)
    ssize_t write(int fd, const void *buffer, size_t size)

    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *mutex, void *attributes)
    int pthread_mutex_lock(pthread_mutex_t *mutex)
    int pthread_mutex_unlock(pthread_mutex_t *mutex)
    int pthread_mutex_destroy(pthread_mutex_t *mutex)
    int pthread_atfork(void (*prepare)() noexcept nogil, void (*parent)() noexcept nogil,
                       void (*child)() noexcept nogil)

    int AF_INET, AF_INET6, AF_UNIX
    int IPPROTO_TCP, TCP_NODELAY, SHUT_WR, SOL_SOCKET, SO_TYPE, SOCK_STREAM
    int MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_NONBLOCK, SOCK_CLOEXEC
    ctypedef unsigned socklen_t
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_storage:
        unsigned short ss_family
    struct in_addr:
        uint32_t s_addr
    struct sockaddr_in:
        unsigned short sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct in6_addr:
        pass
    struct sockaddr_in6:
        unsigned short sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    struct sockaddr_un:
        unsigned short sun_family
        char sun_path[108]
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        int msg_flags
    ssize_t writev(int fd, const iovec *pieces, int count)
    ctypedef int64_t off_t
    ssize_t sendfile(int out_fd, int in_fd, off_t *offset, size_t size)
    int INET6_ADDRSTRLEN
    const char *inet_ntop(int family, const void *source, char *text, socklen_t size)
    int inet_pton(int family, const char *text, void *address)
    uint16_t htons(uint16_t value)
    uint16_t ntohs(uint16_t value)
    uint32_t htonl(uint32_t value)
    uint32_t ntohl(uint32_t value)
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    ssize_t send(int fd, const void *buffer, size_t size, int flags)
    ssize_t recvmsg(int fd, msghdr *message, int flags)
    ssize_t sendmsg(int fd, const msghdr *message, int flags)
    ssize_t recvfrom(int fd, void *buffer, size_t size, int flags, sockaddr *address,
                     socklen_t *length)
    ssize_t sendto(int fd, const void *buffer, size_t size, int flags, const sockaddr *address,
                   socklen_t length)
    int accept4(int fd, sockaddr *address, socklen_t *length, int flags)
    int shutdown(int fd, int how)
    int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
    int getsockopt(int fd, int level, int option, void *value, socklen_t *length)
    int getsockname(int fd, sockaddr *address, socklen_t *length)
    int getpeername(int fd, sockaddr *address, socklen_t *length)
