"""Starting programs, and hearing of their end by way of pidfds. See spawn.h."""
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport errno
from libc.stdlib cimport free, malloc
from libc.string cimport strlen

cdef extern from "spawn.h" nogil:
    int SPAWN_CHANGING_DIRECTORY, SPAWN_EXECUTING
    struct spawn_t "spawn":
        char **arguments
        char **environment
        char **candidates
        const char *directory
        const int *kept
        int kept_count
        int standard[3]
        int closes_others
        int restores_signals
        int opens_session
        int group
        int pidfd
        int error
        int step
    bint spawn_has_close_range()
    int spawn_start(spawn_t *spawn)
    int spawn_pidfd_open(int pid)
    int spawn_pidfd_signal(int pidfd, int number)
    int spawn_reap(int pid, int pidfd, int *code)

cdef extern from "unistd.h" nogil:
    char **environ

# Where a start can fail, as Python callers see it.
CHANGING_DIRECTORY = SPAWN_CHANGING_DIRECTORY
EXECUTING = SPAWN_EXECUTING


cdef object os_error():
    return OSError(errno, os.strerror(errno))


cdef class Strings:
    """An array of C strings that ends with NULL, as the kernel takes it."""
    cdef list owners
    cdef char **first

    def __cinit__(self, list owners not None):
        cdef Py_ssize_t index
        cdef bytes text
        self.owners = owners
        self.first = <char **>malloc((len(owners) + 1) * sizeof(char *))
        if self.first == NULL:
            raise MemoryError()
        for index in range(len(owners)):
            text = owners[index]
            self.first[index] = c_string(text)
        self.first[len(owners)] = NULL

    def __dealloc__(self):
        free(self.first)


cdef class Numbers:
    """An array of C ints."""
    cdef int *first

    def __cinit__(self, tuple numbers not None):
        cdef Py_ssize_t index
        self.first = <int *>malloc((len(numbers) + 1) * sizeof(int))
        if self.first == NULL:
            raise MemoryError()
        for index in range(len(numbers)):
            self.first[index] = numbers[index]

    def __dealloc__(self):
        free(self.first)


cdef char *c_string(bytes text) except NULL:
    if <Py_ssize_t>strlen(PyBytes_AS_STRING(text)) != PyBytes_GET_SIZE(text):
        raise ValueError("embedded null byte")
    return PyBytes_AS_STRING(text)


def has_close_range():
    """Return whether descriptors can be closed by the range, without which `spawn` cannot work."""
    return spawn_has_close_range()


def spawn(
    list candidates not None,
    list arguments not None,
    list environment,
    bytes directory,
    tuple standard not None,
    tuple kept not None,
    bint close_others,
    bint restore_signals,
    bint new_session,
    int group,
):
    """Start a program. The calling thread sleeps until the child runs it, and keeps the GIL.

    Args:
        candidates: the paths of the program, in the order in which to try them.
        arguments: all of them, the program's own name first.
        environment: lines NAME=value; None for this process's own.
        directory: to work in; None for this process's own.
        standard: which descriptors become 0, 1 and 2; -1 for this process's own.
        kept: further descriptors to pass on, ascending.
        close_others: whether no further descriptor is passed on.
        restore_signals: whether SIGPIPE and SIGXFSZ, which Python ignores, are not ignored.
        new_session: whether the child leads a new session.
        group: the process group to join; 0 for a new one, -1 for this process's own.

    Returns (pid, pidfd, 0, 0), with -1 for the pidfd where there is none; or, if the child could
    not run the program, (-1, -1, errno, the step in which it failed), and no child is left.

    Raises:
        OSError: there is no child, because the kernel gives no process, memory or descriptor.
        ValueError: a string has a null byte in it.
    """
    cdef spawn_t request
    cdef Strings paths = Strings(candidates)
    cdef Strings words = Strings(arguments)
    cdef Strings lines = Strings(environment) if environment is not None else None
    cdef Numbers descriptors = Numbers(kept)
    cdef int pid
    request.candidates = paths.first
    request.arguments = words.first
    # Only while this thread has the GIL can no other one change the environment from Python.
    request.environment = environ if lines is None else lines.first
    request.directory = NULL if directory is None else c_string(directory)
    request.standard[0], request.standard[1], request.standard[2] = standard
    request.closes_others = close_others
    request.restores_signals = restore_signals
    request.opens_session = new_session
    request.group = group
    request.kept = descriptors.first
    request.kept_count = <int>len(kept)
    pid = spawn_start(&request)
    if pid < 0:
        raise os_error()
    if request.error:
        return -1, -1, request.error, request.step
    return pid, request.pidfd, 0, 0


def open_pidfd(int pid):
    """Return a descriptor that becomes readable when the process ends.

    Raises:
        OSError: there is no such process, or the kernel or a sandbox has no such descriptors.
    """
    cdef int pidfd = spawn_pidfd_open(pid)
    if pidfd < 0:
        raise os_error()
    return pidfd


def signal_pidfd(int pidfd, int number):
    """Send a signal to the process of a pidfd, and never to another.

    Raises:
        ProcessLookupError: it has ended and its exit status was read.
        OSError: the kernel or a sandbox refuses.
    """
    if spawn_pidfd_signal(pidfd, number) < 0:
        raise os_error()


def reap(int pid, int pidfd):
    """Read the exit status of a child, and let it go. `pidfd` is -1 where there is none.

    Returns the exit code, negative for a signal; None while the child runs.

    Raises:
        ChildProcessError: it is no child of this process, or its status was read before.
    """
    cdef int code = 0
    cdef int result = spawn_reap(pid, pidfd, &code)
    if result < 0:
        raise os_error()
    return code if result else None
