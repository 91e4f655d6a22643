from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from meantime.files.cached cimport CachedFile
from meantime.files.turns cimport Turns

cdef class LinesAhead:
    cdef object text              # bytes, or a str; nothing but whole lines
    cdef Py_ssize_t size
    cdef Py_ssize_t taken         # before it, all lines are
    cdef str newline              # of a str: what ends a line; empty for \n, \r and \r\n
    cdef int ascii_end            # what ends one, where all of it is ASCII; else 0
    cdef object start             # the place of the first of them
    cdef OpenFile forgetful       # the file, once these are its next lines no longer
    cdef PyObject *owner          # the file, while these are its next lines; not held

    cdef bint has_line(self) noexcept
    cdef object take(self)
    cdef Py_ssize_t end_of_text(self, Py_ssize_t start) except -1

cdef class OpenFile:
    cdef object below
    cdef Turns turns
    cdef CachedFile cache         # None where each call goes to a thread
    cdef bint is_text
    cdef str newline              # as in LinesAhead
    cdef object bytes_below       # below text whose lines may be read past its decoder, or None
    cdef object plain_end         # where the last of those ended: if here, nothing is decoded ahead
    cdef str codec                # what decodes those; None while it is not known
    cdef bint notes_newlines      # text tells which ends of lines it has met
    cdef bint can_tell
    cdef bint can_read
    cdef bint has_bulk            # what is larger than the buffer may go past it
    cdef bint runs_ahead          # small writes may go on while a full buffer is written
    cdef object behind            # what writes it then, and has the turn; else None
    cdef bint gathers             # small bytes are gathered: the buffer below is empty

    cdef object read_method       # those of the file below that are called often
    cdef object write_method
    cdef object seek_method
    cdef int64_t position         # in bytes; -1 while it is not known without asking
    cdef bint can_track           # nobody else has the descriptor
    cdef bint is_lent             # somebody has the file below
    cdef LinesAhead ahead         # None while there are none
    cdef Py_ssize_t ahead_bytes   # how much is read ahead next time

    # For closing, which waits for those with a position of their own.
    cdef public object _closing
    cdef public Py_ssize_t _positional
    cdef public object _last_positional

    cdef int positional_ended(self) except -1
    cdef bint drain_behind(self) except -1
    cdef int note_drained(self) except -1
    cdef int settle(self) except -1
    cdef int buffer_is_empty(self) except -1
    cdef object place(self)
    cdef int note_iteration(self) except -1
    cdef object start_of_lines(self)
    cdef int read_lines_ahead(self, object place) except -1
    cdef str read_plain_lines(self, object place)
    cdef bint has_line(self) noexcept
    cdef object take_line(self)
    cdef int forget_lines(self) except -1
    cdef int go_back_to_line(self) except -1
    cdef object next_line_call(self, bint is_step)
    cdef object flush_call(self)
