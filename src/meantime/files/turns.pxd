cdef class Turns:
    cdef public bint busy
    cdef object line              # those who wait; None until somebody does

    cdef int withdraw(self, object waiter) except -1
    cdef int hand_over(self) except -1

cdef bint is_time_to_pause() noexcept
cdef bint is_time_to_pause_after_small() noexcept
cdef bint need_not_pause_after_small() noexcept
