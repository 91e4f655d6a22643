from meantime.files.filecalls cimport Call
from meantime.files.openfile cimport OpenFile

cdef class Write(Call):
    cdef bint is_giving_way       # to the loop, without a turn
    # A second try to write what could not be written behind: under way, over, and not waited for.
    cdef bint is_making_up
    cdef bint is_made_up
    cdef bint is_left

    cdef bint gather(self) except -1
    cdef bint finds_room(self) noexcept
    cdef bint may_run_ahead(self) except -1
    cdef object run_ahead(self)
    cdef object write_bulk(self)
    cdef object make_up(self)

cdef Call write_call(OpenFile file, str name, object data, object method)
