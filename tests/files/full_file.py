"""A file on a disk that takes nothing until it is told to."""

import array
import fcntl
import os
import termios

import meantime


class FullFile:
    """An open file that takes nothing until there is room: its descriptor is made a full pipe's."""

    def __init__(self, path, is_lent=False):
        self.path = path
        self.is_lent = is_lent
        self.reader = -1

    async def open(self, buffering=-1):
        self.file = await meantime.open_file(self.path, "wb", buffering)
        self.reader, writer = os.pipe()
        self.size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.write(writer, bytes(self.size))
        os.dup2(writer, self.file.fileno(), inheritable=False)
        os.close(writer)
        if self.is_lent:
            assert self.file.wrapped
        return self.file

    def take(self):
        """Make room, and return what was written."""
        return os.read(self.reader, self.size)

    def has_some(self):
        """Return whether there is something to take."""
        return array.array("i", fcntl.ioctl(self.reader, termios.FIONREAD, b"\0" * 4))[0] > 0

    def refuse(self):
        """Have every write fail: nobody will ever read."""
        os.close(self.reader)
        self.reader = -1

    def become(self, path):
        """Have another file behind the same descriptor."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(fd, self.file.fileno(), inheritable=False)
        os.close(fd)

    def end(self):
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1
