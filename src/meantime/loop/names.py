"""The names of the backends. They stand alone because the core, which has them, may be missing."""

NAMES = ("io_uring", "epoll")
