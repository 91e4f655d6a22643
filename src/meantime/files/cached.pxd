from cpython.object cimport PyObject
from libc.stdint cimport int64_t

cdef extern from "cached.h" nogil:
    Py_ssize_t cached_read(int fd, void *memory, size_t size, int64_t offset)
    Py_ssize_t cached_write(int fd, const void *memory, size_t size, int64_t offset)
    Py_ssize_t cached_read_whole(int fd, void *memory, size_t size)
    int cached_peep(const char *path, int flags, int64_t *size)
    int cached_keep(int fd, int flags, int64_t *size)
    int cached_open(const char *path, int flags, int64_t *size)
    int close_fd "close"(int fd)
    int64_t lseek(int fd, int64_t offset, int whence)
    int SEEK_CUR

# How much is copied on the loop's thread at most in one call: about a tenth of a millisecond.
cdef enum:
    INLINE_BYTES_MAX = 1 << 20

# Raised in place of waiting. It is no Exception, so that nothing on the way takes it for one.
cdef object WouldWait

cdef class CachedFile:
    """What stands below the buffer of a regular file. See cached.pyx."""
    cdef object plain             # the FileIO, which owns the descriptor
    cdef int fd                   # -1 once it is closed
    cdef bint may_wait            # whether this is a thread, or whoever uses it by himself
    cdef bint reads_cache         # the file system can say what it has in memory
    cdef bint writes_cache        # and can take what it has room for
    cdef bint appends             # each write goes to the end, whatever its position
    cdef Py_ssize_t room_bytes    # how much more this call may copy
    cdef list backlog             # what was written and is to be handed over by a thread
    # Small writes that came after that, in bytes with more room than is used; NULL while there are
    # none. What is above does not know of them.
    cdef PyObject *gathered
    cdef readonly Py_ssize_t gathered_bytes
    cdef Py_ssize_t gather_room
    cdef Py_ssize_t gather_bytes_max
    cdef Py_ssize_t first_room

    cdef int drain(self) except -1
    cdef bint gather(self, bytes data) except -1
    cdef Py_ssize_t room_left(self) noexcept
    cdef void put(self, bytes data) noexcept
    cdef bint make_room(self, Py_ssize_t wanted) except -1
    cdef bytes take_gathered(self)
    cdef int leave_gathered(self) except -1
    cdef int check_open(self) except -1
    cdef int before(self) except -1
    cdef Py_ssize_t read_now(self, void *memory, Py_ssize_t size) except -1

cdef object read_at_now(int fd, object size, object offset)
cdef bint write_at_now(CachedFile file, object data, object offset) except -1
