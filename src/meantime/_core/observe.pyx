"""The points at which a loop can be watched. Being watched costs one branch when nobody does."""


cdef class Observer:
    """Somebody who is told what a loop does. Subclass it and override what you want to know.

    Every method is called on the loop's thread, between callbacks. One that raises takes its
    observer off: that is reported once, to the loop's exception handler, and the program goes on.
    """

    def callback_done(self, handle, spent_s):
        """A callback has run.

        Args:
            handle: its handle, which may be reused as soon as this returns.
            spent_s: how long it held the loop, in seconds.
        """

    def waited(self, spent_s, event_count):
        """The loop has slept in the kernel.

        Args:
            spent_s: how long, in seconds.
            event_count: how many events ended the sleep; 0 when a timer did.
        """
