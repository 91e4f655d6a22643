"""What to do about an error of a file: a note below the message that Python has for it."""

from __future__ import annotations

import errno
import io

ADVICE = {
    errno.ENOENT: "Nothing has this name. Check it, and the current folder if it is a relative "
    "path; to make a new file, open it with mode 'w', 'x' or 'a' in a folder that exists.",
    errno.EACCES: "This process may not do that here. Check the owner and the permissions of the "
    "file and of the folders above it.",
    errno.EPERM: "The system does not allow that here, whatever the permissions are: the file "
    "may be immutable, or this needs a privileged user.",
    errno.EISDIR: "This is a folder. Use Path.iterdir() to see what is in it, or rmtree() to "
    "remove it.",
    errno.ENOTDIR: "Something in this path is a file and no folder. Check each part of it.",
    errno.EEXIST: "Something has this name already. Choose another one, or say that it may be "
    "there: mode 'w' for a file, exist_ok=True for a folder.",
    errno.ENOTEMPTY: "The folder is not empty. Use meantime.files.rmtree() to remove it with all "
    "that is in it.",
    errno.ENOSPC: "The disk is full. What was written before is there, the rest is not. Make "
    "room, then write again; write_atomic() keeps the old file whole when that happens.",
    errno.EDQUOT: "The quota on this disk is used up. Make room, then write again.",
    errno.EROFS: "This file system is mounted read-only. Write somewhere else, or mount it anew.",
    errno.EMFILE: "This process has too many files open. Close some, open fewer at a time, or "
    "raise the limit: ulimit -n.",
    errno.ENFILE: "The system has too many files open. Close some, or raise fs.file-max.",
    errno.ELOOP: "Symbolic links point at each other here. Find the circle with Path.readlink().",
    errno.ENAMETOOLONG: "A name in this path, or the whole, is too long for the file system. Use a "
    "shorter one.",
    errno.EXDEV: "A rename cannot go from one file system to another. Use meantime.files.move().",
    errno.EIO: "The device could not read or write this. Look into the system's log before you "
    "trust this disk.",
}
# In the order in which they are asked: the classes of io inherit from one another.
CLOSED = "The file was closed before. Do all with it inside of its `async with` block."
NOT_SUPPORTED = (
    "The file was not opened for that. Open it with another mode: 'r' reads, 'w', 'a' and 'x' "
    "write, 'r+' and 'w+' do both; and not everything that can be opened can be positioned."
)
DECODING = (
    "The bytes are not text in this encoding. Give open_file the encoding that the file was "
    "written in, or errors='replace' to go on with marks in their place, or open it in binary mode."
)
ENCODING = (
    "The encoding has no bytes for this text. Open the file with encoding='utf-8', or say with "
    "errors= what is to be written in place of it."
)


def advise(error: BaseException) -> None:
    """Add to an error of a file what can be done about it, once."""
    advice = advice_for(error)
    if advice is not None and advice not in getattr(error, "__notes__", ()):
        error.add_note(advice)


def advice_for(error: BaseException) -> str | None:
    """Return what can be done about an error, where there is something to say."""
    if isinstance(error, io.UnsupportedOperation):
        return NOT_SUPPORTED
    if isinstance(error, OSError):
        return ADVICE.get(error.errno or 0)
    if isinstance(error, UnicodeDecodeError):
        return DECODING
    if isinstance(error, UnicodeEncodeError):
        return ENCODING
    if isinstance(error, ValueError) and "closed file" in str(error):
        return CLOSED
    return None
