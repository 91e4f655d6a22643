from cpython.object cimport PyObject

from meantime._core.kernel cimport pthread_mutex_t

cdef class Scheduler:
    """What handles know of their loop."""
    cdef bint debug
    cdef object blank             # an empty Context, shared by callbacks that are given none
    cdef object blank_context(self)
    cdef int timer_was_cancelled(self) except -1

cdef class Handle:
    cdef object __weakref__
    cdef Scheduler loop
    cdef object callback          # None once cancelled
    cdef object arg0              # up to three arguments stand here, without a tuple;
    cdef object arg1              # more of them are a tuple in arg0
    cdef object arg2
    cdef object context
    cdef object made_at           # a traceback.StackSummary in debug mode
    cdef object shown             # what repr() says of a handle cancelled in debug mode
    cdef double when_s            # a timer's due time; the same size serves one freelist
    cdef short arg_count          # -1: arg0 is the tuple of all arguments
    cdef short is_step            # of a task; all others run while no task is the current one
    cdef bint is_cancelled
    cdef bint is_blank            # `context` is a shared one, and must be empty when it runs
    cdef bint scheduled           # lies in the heap of timers

    cdef void set_arguments(self, tuple arguments)
    cdef tuple arguments(self)
    cdef int run(self) except -1
    cdef int report(self, object exception) except -1

cdef class ThreadSafeHandle(Handle):
    cdef object lock

cdef class Queue:
    """Handles in the order in which they were put in: a ring buffer of references."""
    cdef object unused            # makes the type one that the garbage collector visits
    cdef PyObject **items
    cdef Py_ssize_t mask
    cdef Py_ssize_t head
    cdef Py_ssize_t count

    cdef int grow(self) except -1
    cdef void swap(self, Queue other) noexcept
    cdef void clear(self)

    cdef inline int push(self, Handle handle) except -1:
        if self.count > self.mask:
            self.grow()
        push_reference(self, handle)
        return 0

    cdef inline Handle pop(self):
        return pop_reference(self)

cdef inline void push_reference(Queue queue, Handle handle) noexcept:
    take_reference(<PyObject *>handle)
    queue.items[(queue.head + queue.count) & queue.mask] = <PyObject *>handle
    queue.count += 1

cdef inline Handle pop_reference(Queue queue):
    cdef PyObject *item = queue.items[queue.head & queue.mask]
    queue.head += 1
    queue.count -= 1
    return <Handle>own_reference(item)

cdef extern from *:
    """
    #define take_reference(o) Py_INCREF(o)
    #define own_reference(o) (o)
    """
    void take_reference(PyObject *item) noexcept
    # Turns a reference that a C array held into one that Cython counts.
    object own_reference(PyObject *item)

cdef class Inbox:
    cdef pthread_mutex_t lock     # held for a few stores only, and never while Python code runs
    cdef Queue arrived
    cdef int asleep               # the loop waits in the kernel and must be woken

    cdef int post(self, Handle handle) except -1
    cdef int take(self, Queue ready) except -1
    cdef bint fall_asleep(self) noexcept
    cdef void wake_up(self) noexcept

# Let signals and other threads have their turn, in a loop that never sleeps.
cdef int breathe() except -1
