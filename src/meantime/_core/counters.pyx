"""What is alive and under way in the core, for tests: all of it must come back to where it began.

Only builds made with -Dcounters=true count; in others this costs nothing.
"""
cimport cython


@cython.binding(True)  # with a signature that introspection can read
def read():
    """Return how many of each there are now, by name; None in a build that does not count."""
    return dict(counts) if COUNTING else None
