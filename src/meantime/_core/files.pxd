# Each returns a future, or None where only a thread can do it: on a loop that is not ours, on
# epoll, and with arguments that are for Python to judge. `settle` is called in the loop's thread
# when it is over; not if None is returned or an exception raised.

# Read `size` bytes of a regular file at `offset`; fewer at its end.
cdef object read_at(int fd, object size, object offset, object settle)

# Write all of `data` to a regular file at `offset`. It is copied, unless it is bytes.
cdef object write_at(int fd, object data, object offset, object settle)

# Have the disk take what was written to a regular file.
cdef object sync(int fd, bint data_only, object settle)
