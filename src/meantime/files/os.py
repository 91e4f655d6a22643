"""The calls of the standard library's os that may wait for a disk, each in one hop to a thread."""

from __future__ import annotations

import os

from meantime.files import ospath
from meantime.files.threads import threaded

path = ospath

access = threaded(os.access)
getcwd = threaded(os.getcwd)
listdir = threaded(os.listdir)
makedirs = threaded(os.makedirs)
mkdir = threaded(os.mkdir)
readlink = threaded(os.readlink)
remove = threaded(os.remove)
removedirs = threaded(os.removedirs)
rename = threaded(os.rename)
renames = threaded(os.renames)
replace = threaded(os.replace)
rmdir = threaded(os.rmdir)
scandir = threaded(os.scandir)
stat = threaded(os.stat)
lstat = threaded(os.lstat)
symlink = threaded(os.symlink)
unlink = threaded(os.unlink)
utime = threaded(os.utime)
chmod = threaded(os.chmod)
truncate = threaded(os.truncate)
link = threaded(os.link)
if hasattr(os, "sendfile"):
    sendfile = threaded(os.sendfile)
if hasattr(os, "statvfs"):
    statvfs = threaded(os.statvfs)
