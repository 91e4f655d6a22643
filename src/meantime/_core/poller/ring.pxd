from libc.stdint cimport int64_t, uint32_t

from meantime._core.kernel cimport ring_cqe, ring_sqe

cdef class Ring:
    cdef readonly int fd
    cdef readonly unsigned features
    cdef readonly unsigned setup_flags

    # The two memory areas that are shared with the kernel.
    cdef void *rings
    cdef size_t rings_size_bytes
    cdef ring_sqe *sqes
    cdef size_t sqes_size_bytes

    # Where in them the kernel and we leave each other word.
    cdef uint32_t *sq_head
    cdef uint32_t *sq_tail
    cdef uint32_t *sq_flags
    cdef uint32_t sq_mask
    cdef uint32_t sq_entries
    cdef uint32_t *cq_head
    cdef uint32_t *cq_tail
    cdef uint32_t cq_mask
    cdef ring_cqe *cqes

    cdef int map_memory(self, void *parameters) except -1
    cdef int enable(self) except -1
    cdef ring_sqe *next_sqe(self) noexcept
    cdef void push_sqe(self) noexcept
    cdef uint32_t pending(self) noexcept
    cdef uint32_t completed(self) noexcept
    cdef bint kernel_has_work(self) noexcept
    cdef int enter(self, unsigned min_complete, int64_t timeout_ns) noexcept
    cpdef close(self)
