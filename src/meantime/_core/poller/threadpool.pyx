"""Operations on files in threads that have no Python: threadpool.h.

They serve where the ring does not: on epoll all of them, on io_uring those that the kernel would
hand to threads of its own, which take longer to wake.
"""
import atexit
import os

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport errno
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from meantime._core.garbage cimport GC_CLEAR_OF, GC_SET_CLEAR
from meantime._core.kernel cimport (
    ECANCELED,
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    POLLIN,
    RING_FSYNC_DATASYNC,
    RING_OP_READ,
    RING_OP_WRITE,
    close as close_fd,
    eventfd,
    eventfd_write,
    pthread_atfork,
)
from meantime._core.poller.contract cimport EDGE, Operation, Poller, Watcher

cdef extern from "threadpool.h" nogil:
    int POOL_READ, POOL_WRITE, POOL_SYNC, POOL_SYNC_DATA
    struct Job "pool_job":
        Job *next
        Job *before
        Job *after
        PoolPort *port
        void *owner
        void *address
        size_t size
        int64_t offset
        int fd, kind, must_end, result
    struct PoolPort "pool_port":
        int under_way, event_fd
    int pool_submit(Job *job)
    Job *pool_take_done(PoolPort *port)
    int pool_thread_count()
    void pool_make()

# These let go of the GIL by themselves, and take it again.
cdef extern from "threadpool.h":
    Job *pool_close_port(PoolPort *port, int64_t wait_ns) noexcept
    void pool_wait_for_any(PoolPort *port, int64_t wait_ns) noexcept
    void pool_end_idle() noexcept
    bint pool_finish_writes(int64_t wait_ns) noexcept

cdef enum:
    STEP_NS = 100_000_000
    # A disk that hangs must not hang the program.
    LAST_WORD_NS_MAX = 1_000_000_000


@cython.final
cdef class Port(Watcher):
    """Where the operations of one poller come back from the threads.

    Being watched for edges, the descriptor need not be read: each write is an edge.
    """

    def __cinit__(self):
        self.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.event_fd < 0:
            raise OSError(errno, os.strerror(errno))
        self.port = calloc(1, sizeof(PoolPort))
        if self.port == NULL:
            raise MemoryError()
        (<PoolPort *>self.port).event_fd = self.event_fd

    def __dealloc__(self):
        # What is under way holds its operation, that one the loop, the loop this: so nothing is.
        free(self.port)
        if self.event_fd >= 0:
            close_fd(self.event_fd)

    cdef int submit(self, Operation operation) except -1:
        cdef Job *job = <Job *>calloc(1, sizeof(Job))
        cdef int error
        if job == NULL:
            raise MemoryError()
        job.port = <PoolPort *>self.port
        job.fd = operation.fd
        job.address = operation.address
        job.size = operation.length
        job.offset = <int64_t>operation.offset
        job.must_end = operation.must_end
        if operation.opcode == RING_OP_READ:
            job.kind = POOL_READ
        elif operation.opcode == RING_OP_WRITE:
            job.kind = POOL_WRITE
        else:
            job.kind = POOL_SYNC_DATA if operation.flags & RING_FSYNC_DATASYNC else POOL_SYNC
        self.keep(job, operation)
        error = pool_submit(job)
        if error:
            self.let_go(job)
            raise OSError(
                error,
                f"{os.strerror(error)}: no thread can be started to work on the file. Raise the "
                "limit of processes (ulimit -u) or of memory, or have fewer threads.",
            )
        return 0

    cdef int keep(self, JobHandle *handle, Operation operation) except -1:
        """Hold the operation, in a way that the garbage collector does not see."""
        cdef Job *job = <Job *>handle
        job.owner = <void *>operation
        job.after = <Job *>self.under_way
        if job.after != NULL:
            job.after.before = job
        self.under_way = job
        Py_INCREF(operation)
        (<Poller>self.poller).operations_in_flight += 1
        return 0

    cdef Operation let_go(self, JobHandle *handle):
        """Free the job. Returns its operation."""
        cdef Job *job = <Job *>handle
        operation = <Operation>job.owner
        if job.before != NULL:
            job.before.after = job.after
        else:
            self.under_way = job.after
        if job.after != NULL:
            job.after.before = job.before
        free(job)
        Py_DECREF(operation)
        (<Poller>self.poller).operations_in_flight -= 1
        return operation

    cdef int on_ready(self, unsigned events) except -1:
        if self.told_next == NULL:
            self.told_next = pool_take_done(<PoolPort *>self.port)
        return self.tell()

    cdef int tell(self) except -1:
        """Tell the operations that have come back.

        If one raises, the others are told with the next event, which is made to come.
        """
        cdef Job *job
        cdef int result
        try:
            while self.told_next != NULL:
                job = <Job *>self.told_next
                self.told_next = job.next
                result = job.result
                self.let_go(job).on_done(result)
        except BaseException:
            if self.event_fd >= 0:
                eventfd_write(self.event_fd, 1)
            raise
        return 0

    cdef int wait(self) except -1:
        if self.told_next == NULL:
            pool_wait_for_any(<PoolPort *>self.port, STEP_NS)
            PyErr_CheckSignals()
        return self.on_ready(0)

    cdef int close(self, bint forked) except -1:
        """Wait for what must be done, a while at most, and tell everybody."""
        cdef PoolPort *port = <PoolPort *>self.port
        cdef Job *last
        cdef Job *job
        if port == NULL:
            return 0
        self.port = NULL
        if not forked:
            job = pool_close_port(port, LAST_WORD_NS_MAX)
            last = <Job *>self.told_next
            if last == NULL:
                self.told_next = job
            else:
                while last.next != NULL:
                    last = last.next
                last.next = job
        close_fd(self.event_fd)
        self.event_fd = -1
        self.tell()
        # What the threads still have is theirs for good: the job, and what its operation holds.
        job = <Job *>self.under_way
        while job != NULL:
            (<Poller>self.poller).operations_in_flight -= 1
            (<Operation>job.owner).on_done(-ECANCELED)
            job = job.after
        return 0


cdef class PoolingPoller(Poller):
    """A poller that has threads for what may wait."""

    cdef int start_in_pool(self, Operation operation) except -1:
        cdef Port port = self.port
        if self.closed or self.forked():
            raise RuntimeError(
                "cannot start anything: the poller is closed, or was made by the process that "
                "this one was forked from. Make a new event loop here and use that one."
            )
        if port is None:
            port = Port()
            port.poller = <void *>self
            self.watch(port, port.event_fd, POLLIN, EDGE)
            self.port = port
            self.own_watches += 1
        return port.submit(operation)

    cdef int wait_for_operation(self) except -1:
        if self.port is None or self.forked():
            raise RuntimeError("cannot wait for an operation: none is under way in this process.")
        return self.port.wait()

    cdef int close_port(self) except -1:
        port = self.port
        self.port = None
        return 0 if port is None else port.close(self.forked())


@cython.binding(True)
def thread_count():
    """Return how many threads there are now that work on files."""
    return pool_thread_count()


# The collector takes away the watchers only: see UringPoller.
GC_SET_CLEAR(<PyTypeObject *>PoolingPoller, GC_CLEAR_OF(<PyTypeObject *>Poller))


def end_idle_threads():
    pool_end_idle()


def finish_writes():
    while not pool_finish_writes(STEP_NS):
        PyErr_CheckSignals()


pool_make()
pthread_atfork(NULL, NULL, pool_make)
# A process with other threads is warned when it forks, and rightly: so those that have nothing to
# do are not there meanwhile.
os.register_at_fork(before=end_idle_threads)
# What was written must be in the file when the program has ended.
atexit.register(finish_writes)
