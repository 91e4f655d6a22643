# Each returns a future, or None where only a thread of Python's can do it: on a loop that is not
# ours, and with arguments that are for Python to judge. `settle` is called in the loop's thread
# when it is over; not if None is returned or an exception raised.

# Whether the running loop can do all this.
cdef bint operates()

# Read `size` bytes of a regular file at `offset`; fewer at its end.
cdef object read_at(int fd, object size, object offset, object settle)

# Write all of `data` to a regular file at `offset`. It is copied, unless it is bytes.
cdef object write_at(int fd, object data, object offset, object settle)

# Write each item of `backlog`, none of them empty, where the file's position is, and take it out of
# the list, which nobody else may touch meanwhile. If that fails, what is not written stays there,
# but for the last item, unless `keeps_last`.
cdef object drain(int fd, list backlog, bint keeps_last, object settle)

# The same while nobody waits: an error is not told, but what is not written stays in the list. What
# is put at its end meanwhile is written, too. Returns the operation, or None.
cdef object drain_behind(int fd, list backlog, object settle)

# Block until it is over.
cdef int finish(object drain) except -1

# Have the disk take what was written to a regular file.
cdef object sync(int fd, bint data_only, object settle)
