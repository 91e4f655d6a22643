"""The calls of os.path that ask the disk, each in one hop to a thread."""

from __future__ import annotations

import os

from meantime.files.threads import threaded

abspath = threaded(os.path.abspath)
exists = threaded(os.path.exists)
getatime = threaded(os.path.getatime)
getctime = threaded(os.path.getctime)
getmtime = threaded(os.path.getmtime)
getsize = threaded(os.path.getsize)
isdir = threaded(os.path.isdir)
isfile = threaded(os.path.isfile)
islink = threaded(os.path.islink)
ismount = threaded(os.path.ismount)
lexists = threaded(os.path.lexists)
realpath = threaded(os.path.realpath)
sameopenfile = threaded(os.path.sameopenfile)
samefile = threaded(os.path.samefile)
