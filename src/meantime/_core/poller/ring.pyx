"""The raw ring: set up, submit, look at completions, close. It holds no policy.

Source: io_uring_setup(2), io_uring_enter(2).
"""
import os

from libc.errno cimport EINVAL, ENOSYS, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from meantime._core.kernel cimport (
    MAP_FAILED,
    MAP_POPULATE,
    MAP_SHARED,
    PROT_READ,
    PROT_WRITE,
    RING_ENTER_EXT_ARG,
    RING_ENTER_GETEVENTS,
    RING_ENTER_NO_IOWAIT,
    RING_FEAT_CQE_SKIP,
    RING_FEAT_EXT_ARG,
    RING_FEAT_NO_IOWAIT,
    RING_FEAT_NODROP,
    RING_FEAT_SINGLE_MMAP,
    RING_OFFSET_RINGS,
    RING_OFFSET_SQES,
    RING_SETUP_CLAMP,
    RING_SETUP_COOP_TASKRUN,
    RING_SETUP_CQSIZE,
    RING_SETUP_DEFER_TASKRUN,
    RING_SETUP_R_DISABLED,
    RING_SETUP_SINGLE_ISSUER,
    RING_SETUP_SUBMIT_ALL,
    RING_SETUP_TASKRUN_FLAG,
    RING_SQ_CQ_OVERFLOW,
    RING_SQ_TASKRUN,
    close as close_fd,
    load_acquire_u32,
    mmap,
    munmap,
    ring_cqe,
    ring_enable,
    ring_enter,
    ring_enter_arg,
    ring_params,
    ring_setup,
    ring_sqe,
    ring_timespec,
    store_release_u32,
)

# What the poller cannot do without: a bound on a wait, no lost completions, silent removals.
cdef unsigned NEEDED = (
    RING_FEAT_SINGLE_MMAP | RING_FEAT_NODROP | RING_FEAT_EXT_ARG | RING_FEAT_CQE_SKIP
)

# What a closed ring's queues consist of: nothing is in them and nothing can be put in.
cdef uint32_t nothing = 0


cdef int try_setup(unsigned sq_entries, unsigned cq_entries, ring_params *params) except -1:
    """Set up a ring in the best way that this kernel has. Returns its descriptor."""
    cdef unsigned always = (
        RING_SETUP_CQSIZE | RING_SETUP_CLAMP | RING_SETUP_SUBMIT_ALL | RING_SETUP_R_DISABLED
        | RING_SETUP_TASKRUN_FLAG
    )
    # DEFER_TASKRUN came with Linux 6.1, COOP_TASKRUN with 5.19. A ring with neither interrupts
    # our thread for each event, and was measured to be slower than epoll.
    cdef unsigned[2] ways = [
        RING_SETUP_DEFER_TASKRUN | RING_SETUP_SINGLE_ISSUER,
        RING_SETUP_COOP_TASKRUN,
    ]
    cdef int fd = -1
    for way in ways:
        memset(params, 0, sizeof(ring_params))
        params.flags = always | way
        params.cq_entries = cq_entries
        fd = ring_setup(sq_entries, params)
        if fd >= 0 or errno != EINVAL:
            break
    if fd < 0:
        raise OSError(errno, f"io_uring_setup was refused: {os.strerror(errno)}")
    if params.features & NEEDED != NEEDED:
        close_fd(fd)
        raise OSError(ENOSYS, "io_uring is older here than Linux 5.19 and lacks what we need")
    return fd


cdef class Ring:
    """A submission queue and a completion queue, shared with the kernel.

    It is created disabled. The thread that calls `enable` is the only one that may `enter` it.

    Raises:
        OSError: the kernel refuses it (EPERM, EACCES, ENOSYS, ENOMEM, EINVAL).
    """

    def __cinit__(self, unsigned sq_entries, unsigned cq_entries):
        cdef ring_params params
        self.fd = -1
        self.rings = MAP_FAILED
        self.sqes = <ring_sqe *>MAP_FAILED
        self.fd = try_setup(sq_entries, cq_entries, &params)
        self.features = params.features
        self.setup_flags = params.flags
        self.map_memory(&params)

    def __dealloc__(self):
        self.close()

    cdef int map_memory(self, void *parameters) except -1:
        cdef ring_params *params = <ring_params *>parameters
        cdef char *base
        cdef uint32_t *array
        cdef uint32_t index
        cdef size_t sq_bytes = params.sq.array + params.sq_entries * sizeof(uint32_t)
        cdef size_t cq_bytes = params.cq.cqes + params.cq_entries * sizeof(ring_cqe)
        self.rings_size_bytes = max(sq_bytes, cq_bytes)
        self.sqes_size_bytes = params.sq_entries * sizeof(ring_sqe)
        self.rings = mmap(NULL, self.rings_size_bytes, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_POPULATE, self.fd, RING_OFFSET_RINGS)
        if self.rings == MAP_FAILED:
            raise OSError(errno, f"the ring's memory was refused: {os.strerror(errno)}")
        self.sqes = <ring_sqe *>mmap(NULL, self.sqes_size_bytes, PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_POPULATE, self.fd, RING_OFFSET_SQES)
        if <void *>self.sqes == MAP_FAILED:
            raise OSError(errno, f"the ring's memory was refused: {os.strerror(errno)}")

        base = <char *>self.rings
        self.sq_head = <uint32_t *>(base + params.sq.head)
        self.sq_tail = <uint32_t *>(base + params.sq.tail)
        self.sq_flags = <uint32_t *>(base + params.sq.flags)
        self.sq_mask = (<uint32_t *>(base + params.sq.mask))[0]
        self.sq_entries = params.sq_entries
        self.cq_head = <uint32_t *>(base + params.cq.head)
        self.cq_tail = <uint32_t *>(base + params.cq.tail)
        self.cq_mask = (<uint32_t *>(base + params.cq.mask))[0]
        self.cqes = <ring_cqe *>(base + params.cq.cqes)
        # The kernel reads submissions through this array of positions. We use each entry in its
        # place, so it is filled once.
        array = <uint32_t *>(base + params.sq.array)
        for index in range(params.sq_entries):
            array[index] = index
        return 0

    cdef int enable(self) except -1:
        if ring_enable(self.fd) < 0:
            raise OSError(errno, f"io_uring_register was refused: {os.strerror(errno)}")
        return 0

    cdef ring_sqe *next_sqe(self) noexcept:
        """Return a cleared entry to be filled and pushed, or NULL while the queue is full."""
        cdef uint32_t tail = self.sq_tail[0]
        cdef ring_sqe *sqe
        if tail - load_acquire_u32(self.sq_head) >= self.sq_entries:
            return NULL
        sqe = &self.sqes[tail & self.sq_mask]
        memset(sqe, 0, sizeof(ring_sqe))
        return sqe

    cdef void push_sqe(self) noexcept:
        """Let the kernel see the entry at its next `enter`."""
        store_release_u32(self.sq_tail, self.sq_tail[0] + 1)

    cdef uint32_t pending(self) noexcept:
        """Return how many entries the kernel has not taken yet."""
        return self.sq_tail[0] - load_acquire_u32(self.sq_head)

    cdef uint32_t completed(self) noexcept:
        """Return how many completions lie in memory."""
        return load_acquire_u32(self.cq_tail) - self.cq_head[0]

    cdef bint kernel_has_work(self) noexcept:
        """Whether an `enter` would bring completions that are not in memory yet."""
        return (load_acquire_u32(self.sq_flags) & (RING_SQ_TASKRUN | RING_SQ_CQ_OVERFLOW)) != 0

    cdef int enter(self, unsigned min_complete, int64_t timeout_ns) noexcept:
        """Submit what is pending, and wait for `min_complete` completions.

        With a `min_complete` above 0 the GIL is released meanwhile, for at most `timeout_ns`
        (negative: no bound). Returns what io_uring_enter(2) does, or -errno.
        """
        cdef ring_enter_arg arg
        cdef ring_timespec bound
        cdef unsigned to_submit = self.pending()
        cdef unsigned flags = RING_ENTER_GETEVENTS
        cdef int fd = self.fd
        cdef int result
        if min_complete == 0:
            result = ring_enter(fd, to_submit, 0, flags, NULL)
            return result if result >= 0 else -errno
        memset(&arg, 0, sizeof(arg))
        flags |= RING_ENTER_EXT_ARG
        if self.features & RING_FEAT_NO_IOWAIT:
            flags |= RING_ENTER_NO_IOWAIT
        if timeout_ns >= 0:
            bound.seconds = timeout_ns // 1000000000
            bound.nanoseconds = timeout_ns % 1000000000
            arg.timeout = <uint64_t>&bound
        with nogil:
            result = ring_enter(fd, to_submit, min_complete, flags, &arg)
            if result < 0:
                result = -errno
        return result

    cpdef close(self):
        """Give the memory and the descriptor back. May be called again."""
        if self.rings == NULL:
            # Its arguments were wrong, so __cinit__ has not begun, and 0 is no descriptor of ours.
            return
        self.sq_head = self.sq_tail = self.sq_flags = self.cq_head = self.cq_tail = &nothing
        self.sq_entries = 0
        if self.rings != MAP_FAILED:
            munmap(self.rings, self.rings_size_bytes)
            self.rings = MAP_FAILED
        if <void *>self.sqes != MAP_FAILED:
            munmap(self.sqes, self.sqes_size_bytes)
            self.sqes = <ring_sqe *>MAP_FAILED
        if self.fd >= 0:
            close_fd(self.fd)
            self.fd = -1
