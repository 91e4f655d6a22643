cdef enum State:
    CREATED
    ENTERED
    EXPIRING
    EXPIRED
    EXITED

cdef class Timeout:
    cdef object __weakref__
    cdef dict __dict__
    cdef State state
    cdef object when_s            # None: never
    cdef object loop
    cdef object task
    cdef object timer
    cdef long cancelling          # how many cancellations the task had been asked for on entering

    cdef int enter(self) except -1
    cdef int leave(self, object kind, object exception) except -1
    cdef int schedule(self, object when_s) except -1
    cdef int expire(self) except -1

cdef Timeout new_timeout(object loop, object delay)
