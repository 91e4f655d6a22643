"""An open file as its calls see it: what is below it, where it is, and the lines read ahead."""
import codecs
import io

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF
from libc.string cimport memchr

from meantime._core.files cimport drain_behind as start_drain_behind
from meantime._core.files cimport finish
from meantime.files.cached cimport CachedFile, WouldWait
from meantime.files.turns cimport Turns

cdef extern from "Python.h":
    Py_ssize_t PyUnicode_GET_LENGTH(object text) noexcept
    Py_UCS4 PyUnicode_READ_CHAR(object text, Py_ssize_t index) noexcept
    Py_ssize_t PyUnicode_FindChar(object text, Py_UCS4 character, Py_ssize_t start, Py_ssize_t end,
                                  int direction) except -2
    Py_ssize_t PyUnicode_Find(object text, object part, Py_ssize_t start, Py_ssize_t end,
                              int direction) except -2
    object PyUnicode_Substring(object text, Py_ssize_t start, Py_ssize_t end)
    str PyUnicode_DecodeUTF8(const char *data, Py_ssize_t size, const char *errors)
    str PyUnicode_DecodeASCII(const char *data, Py_ssize_t size, const char *errors)
    str PyUnicode_DecodeLatin1(const char *data, Py_ssize_t size, const char *errors)

cdef extern from *:
    """
    #define is_ascii(text) PyUnicode_IS_COMPACT_ASCII(text)

    /* Return the line that begins at `*at`, and move behind it. */
    static inline PyObject *take_ascii_line(PyObject *text, Py_ssize_t size, int end,
                                            Py_ssize_t *at)
    {
        const char *start = (const char *)PyUnicode_1BYTE_DATA(text) + *at;
        const char *found = memchr(start, end, size - *at);
        Py_ssize_t length = found == NULL ? size - *at : found - start + 1;
        PyObject *line;
        *at += length;
        if (length == 1)
            return PyUnicode_Substring(text, *at - 1, *at);  /* those exist already */
        line = PyUnicode_New(length, 127);
        if (line != NULL)
            memcpy(PyUnicode_1BYTE_DATA(line), start, length);
        return line;
    }
    """
    bint is_ascii(object text) noexcept
    object take_ascii_line(object text, Py_ssize_t size, int end, Py_ssize_t *at)

cdef extern from "answers.h":
    ctypedef PyObject *(*answer_next)(PyObject *) noexcept
    PyObject *answer_with(PyObject *value) noexcept
    void set_answering(PyTypeObject *type, answer_next next) noexcept

cdef enum:
    # Lines are read ahead in growing pieces: a program that wants one line pays for few. Memory for
    # larger ones than these, with what Python and malloc add, would be the kernel's to give and to
    # take back, each time.
    AHEAD_BYTES_MIN = 1 << 13
    AHEAD_BYTES_MAX = (1 << 17) - 4096

# In these a line's end is one byte, which is part of nothing else, and each line stands for itself.
cdef frozenset PLAIN_CODECS = frozenset({"utf-8", "ascii", "iso8859-1"})
# From here on the place of some text is more than a number of bytes.
cdef object PLACE_MAX = 1 << 62


cdef str decode_plainly(bytes data, Py_ssize_t size, str codec):
    """Return the text of the first of some bytes."""
    if codec == "utf-8":
        return PyUnicode_DecodeUTF8(PyBytes_AS_STRING(data), size, NULL)
    if codec == "ascii":
        return PyUnicode_DecodeASCII(PyBytes_AS_STRING(data), size, NULL)
    return PyUnicode_DecodeLatin1(PyBytes_AS_STRING(data), size, NULL)


@cython.final
cdef class LinesAhead:
    """Whole lines that were read already. To await it is to take the next one, at once."""

    def __await__(self):
        cdef OpenFile file
        if self.owner != NULL and self.has_line() and not (<OpenFile>self.owner).turns.busy:
            return self
        file = self.forgetful if self.owner == NULL else <OpenFile>self.owner
        if file is None:
            return self
        # Somebody else has taken it since, or is about to.
        return file.next_line_call(True)

    def __iter__(self):
        # What __await__ returns must be fit for `yield from`.
        return self

    cdef bint has_line(self) noexcept:
        return self.taken < self.size

    cdef object take(self):
        cdef Py_ssize_t start = self.taken
        if self.newline is None:
            self.taken = end_of_bytes(PyBytes_AS_STRING(self.text), start, self.size)
            return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.text) + start,
                                             self.taken - start)
        if self.ascii_end:
            return take_ascii_line(self.text, self.size, self.ascii_end, &self.taken)
        self.taken = self.end_of_text(start)
        return PyUnicode_Substring(self.text, start, self.taken)

    cdef Py_ssize_t end_of_text(self, Py_ssize_t start) except -1:
        """Return where the line ends that begins at `start`."""
        cdef Py_ssize_t end, other
        if PyUnicode_GET_LENGTH(self.newline) == 2:
            end = PyUnicode_Find(self.text, self.newline, start, self.size, 1)
            return end + 2 if end >= 0 else self.size
        if PyUnicode_GET_LENGTH(self.newline) == 1:
            end = PyUnicode_FindChar(self.text, PyUnicode_READ_CHAR(self.newline, 0), start,
                                     self.size, 1)
            return end + 1 if end >= 0 else self.size
        # Each of the three: \n, \r, \r\n.
        end = PyUnicode_FindChar(self.text, 10, start, self.size, 1)
        other = PyUnicode_FindChar(self.text, 13, start, self.size if end < 0 else end, 1)
        if other < 0:
            return end + 1 if end >= 0 else self.size
        return end + 1 if end == other + 1 else other + 1


cdef Py_ssize_t end_of_bytes(const char *text, Py_ssize_t start, Py_ssize_t size) noexcept:
    cdef const char *found = <const char *>memchr(text + start, 10, size - start)
    return size if found == NULL else found - text + 1


cdef PyObject *answer_next_line(PyObject *ahead) noexcept:
    if not (<LinesAhead>ahead).has_line():
        return NULL
    line = (<LinesAhead>ahead).take()
    Py_INCREF(line)
    return answer_with(<PyObject *>line)


@cython.no_gc_clear  # or LinesAhead would not hear of our end
cdef class OpenFile:
    """What is known of an open file."""

    def __cinit__(self):
        self.turns = Turns.__new__(Turns)
        self.position = -1

    def __init__(self, wrapped, newline=None):
        self.below = wrapped
        self.can_track = True
        self.is_text = type(wrapped) is io.TextIOWrapper
        if self.is_text:
            # What ends a line, once it is read; empty for any of the three.
            self.newline = "\n" if newline is None else newline
        self.cache = cache_below(wrapped.buffer if self.is_text else wrapped)
        self.can_tell = True
        self.ahead_bytes = AHEAD_BYTES_MIN
        self.position = -1
        if self.cache is not None:
            self.can_read = wrapped.readable()
            self.notes_newlines = newline != "\n"
            if self.is_text and newline in (None, "", "\n"):
                self.bytes_below = (
                    wrapped.buffer if type(wrapped.buffer) is io.BufferedReader else None
                )
            self.read_method = wrapped.read
            self.write_method = wrapped.write
            self.seek_method = wrapped.seek
            self.has_bulk = self.gathers = type(wrapped) is io.BufferedWriter
            # Nothing above a BufferedWriter moves the position.
            self.runs_ahead = self.has_bulk or (
                self.is_text and type(wrapped.buffer) is io.BufferedWriter
            )

    @property
    def _turns(self):
        return self.turns

    @property
    def _wrapped(self):
        return self.below

    def _lend(self):
        """Return the file below to somebody who may move its position."""
        if self.behind is not None:
            finish(self.behind)
        self.settle()
        self.is_lent = True
        self.can_track = False
        self.position = -1
        self.note_iteration()
        return self.below

    def _fileno(self):
        """Return the descriptor to somebody who may move its position."""
        self.can_track = False
        self.position = -1
        return self.below.fileno()

    cdef object place(self):
        """Return what `seek` comes back here with."""
        if self.can_tell:
            try:
                return self.below.tell()
            except Exception:
                # The position of some text cannot be told. It has to be read in threads.
                self.can_tell = False
        raise WouldWait

    cdef int note_iteration(self) except -1:
        """Remember that somebody may have stopped between two lines of `for line in file`.

        Text cannot tell its position then, and once it is flushed, it tells one that is too far.
        """
        if self.is_text:
            self.can_tell = False
        return 0

    cdef object start_of_lines(self):
        """Return the place of the next line, of which nothing is ahead."""
        self.forget_lines()
        return self.place()

    cdef int read_lines_ahead(self, object place) except -1:
        cdef LinesAhead ahead = LinesAhead.__new__(LinesAhead)
        ahead.newline = self.newline
        text = self.read_plain_lines(place)
        if text is None:
            text = self.below.read(self.ahead_bytes)
            end = (self.newline or "\n") if self.is_text else b"\n"
            if text and not text.endswith(end):
                text += self.below.readline()
        else:
            ahead.newline = "\n"
        ahead.text = text
        ahead.size = len(text)
        if self.is_text and PyUnicode_GET_LENGTH(ahead.newline) == 1 and is_ascii(text):
            ahead.ascii_end = PyUnicode_READ_CHAR(ahead.newline, 0)
        ahead.start = place
        ahead.owner = <PyObject *>self
        self.ahead = ahead
        self.ahead_bytes = min(self.ahead_bytes * 4, AHEAD_BYTES_MAX)
        return 0

    cdef str read_plain_lines(self, object place):
        """Return the next lines of text from below its decoder, or None where it is needed.

        That saves the time of taking text apart and putting it together again. The decoder is past
        its first piece by then, and has met nothing but \\n, so that it has nothing to remember of
        these. It never hears of them.
        """
        if self.bytes_below is None or place >= PLACE_MAX:
            return None
        if self.notes_newlines and self.below.newlines != "\n":
            return None
        if self.codec is None:
            self.codec = codecs.lookup(self.below.encoding).name
            if self.codec not in PLAIN_CODECS:
                self.bytes_below = None
                return None
        if place != self.plain_end:
            # What it has decoded ahead is forgotten by that, and it begins anew here.
            self.below.seek(place)
        data = self.bytes_below.read(self.ahead_bytes)
        size = len(data)
        if size and not data.endswith(b"\n"):
            size = data.rfind(b"\n") + 1
            if size:
                # Going back for the last line is less work than copying all to add its end.
                self.bytes_below.seek(size - len(data), io.SEEK_CUR)
            else:
                data += self.bytes_below.readline()
                size = len(data)
        try:
            if data.find(b"\r", 0, size) < 0:
                text = decode_plainly(data, size, self.codec)
                self.plain_end = place + size
                return text
        except UnicodeDecodeError:
            pass
        self.bytes_below = None
        self.below.seek(place)
        return None

    cdef bint has_line(self) noexcept:
        return self.ahead is not None and self.ahead.has_line()

    cdef object take_line(self):
        """Return the line that is next. When there is none, the file ends here."""
        if not self.has_line():
            return "" if self.is_text else b""
        return self.ahead.take()

    cdef int forget_lines(self) except -1:
        if self.ahead is not None:
            # Whoever holds a step of iteration still gets the line that is next then.
            self.ahead.owner = NULL
            self.ahead.forgetful = self
            self.ahead = None
        return 0

    cdef int go_back_to_line(self) except -1:
        """Be where whoever read the lines up to now believes to be."""
        cdef LinesAhead ahead = self.ahead
        if ahead is None:
            return 0
        if ahead.has_line():
            if self.is_text:
                self.below.seek(ahead.start)
                self.below.read(ahead.taken)
            else:
                self.below.seek(ahead.start + ahead.taken)
            self.ahead_bytes = max(ahead.taken, 1)
        self.forget_lines()
        return 0

    def __dealloc__(self):
        # Whoever still holds it would find us gone.
        if self.ahead is not None:
            self.ahead.owner = NULL

    cdef object next_line_call(self, bint is_step):
        raise NotImplementedError

    cdef object flush_call(self):
        raise NotImplementedError

    def end_positional(self):
        """Note that a call with a position of its own has ended, in the loop's thread."""
        self.positional_ended()

    # ---- what was written and is not in the file

    cdef int settle(self) except -1:
        """Put what was gathered into the buffer below, which is empty and has room for it.

        What comes next goes there too.
        """
        self.gathers = False
        if self.cache is not None and self.cache.gathered_bytes:
            self.write_method(self.cache.take_gathered())
        return 0

    cdef int buffer_is_empty(self) except -1:
        """Gather small bytes again."""
        self.gathers = self.has_bulk and not self.is_lent
        return 0

    cdef bint drain_behind(self) except -1:
        """Have what was left behind written while the file is used. Returns whether it is.

        The turn is gone until then, for all but small writes.
        """
        self.turns.busy = True
        self.position = -1
        try:
            self.behind = start_drain_behind(self.cache.fd, self.cache.backlog, self.end_drain)
        except BaseException:
            self.turns.hand_over()
            raise
        return self.behind is not None

    cdef int note_drained(self) except -1:
        if self.cache is not None and not self.cache.backlog:
            self.cache.backlog = None
        return 0

    def end_drain(self):
        """Note that a turn has ended in which what was left behind was written, or was not."""
        self.behind = None
        self.note_drained()
        self.turns.hand_over()

    cdef int positional_ended(self) except -1:
        self._positional -= 1
        waiter = self._last_positional
        if self._positional == 0 and waiter is not None and not waiter.done():
            waiter.set_result(None)
        return 0


cdef CachedFile cache_below(object binary):
    """Return the CachedFile below a buffer, or None."""
    if type(binary) in (io.BufferedReader, io.BufferedWriter, io.BufferedRandom):
        raw = binary.raw
        if type(raw) is CachedFile:
            return raw
    return None


set_answering(<PyTypeObject *>LinesAhead, answer_next_line)
