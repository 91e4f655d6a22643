from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from meantime._core.kernel cimport ring_sqe
from meantime._core.poller.contract cimport Operation, Slot
from meantime._core.poller.ring cimport Ring
from meantime._core.poller.threadpool cimport PoolingPoller

cdef class UringPoller(PoolingPoller):
    cdef Ring ring
    cdef uint64_t owner           # the thread that the ring is enabled for; 0 before the first
    cdef Py_ssize_t requests     # in flight, in a build that counts
    cdef bint in_use              # that thread waits, or tells the watchers, now
    cdef bint has_lost            # the kernel said that it dropped a completion
    cdef list leaving             # tickets of requests whose removal could not be queued yet
    cdef PyObject **operations    # in flight, by number, each with a reference
    cdef int operation_room
    cdef int next_number

    cdef ring_sqe *new_sqe(self) except NULL
    cdef ring_sqe *free_sqe(self) except? NULL
    cdef int remove(self, uint64_t ticket) except -1
    cdef int remove_leaving(self) except -1
    cdef int check(self, int result) except -1
    cdef int bind(self) except -1
    cdef int rebuild(self) except -1
    cdef int submit(self) except -1
    cdef int abandon(self, bint drained) except -1
    cdef int room_for_operation(self) except -1
    cdef int submit_operation(self, Operation operation, int number) except -1
    cdef int start_again(self) except -1
    cdef int end_operation(self, int number, int result) except -1
    cdef int end_operations(self) except -1
    cdef int complete(self, uint64_t ticket, int result, unsigned flags) except -1
