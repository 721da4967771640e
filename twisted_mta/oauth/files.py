"""Reading small files that matter, and saying whose they are where that goes wrong.

Flow: accounts.py and store.py read with `read_file`, and put `owner_of` into their complaints.
Sources: open(2), fstat(2), inode(7); getpwuid(3).
"""

import errno
import os
import pwd
import stat
from pathlib import Path


def read_file(path: Path, limit: int, *, follow_links: bool = True) -> tuple[bytes, int]:
    """Read a regular file.

    Args:
        path: the file.
        limit: octets that it may have at most.
        follow_links: whether it may be a symbolic link.

    Returns:
        The content, and the bits of its permissions.

    Raises:
        OSError: it cannot be read, is no regular file, or longer; `strerror` says so.
    """
    # A named pipe would otherwise wait for somebody who writes.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_links else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        data = b""
        while len(data) <= limit and (part := os.read(descriptor, limit + 1 - len(data))):
            data += part
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit} bytes")
    return data, stat.S_IMODE(mode)


def owner_of(path: Path) -> str:
    """``; it belongs to A, and this process runs as B``; empty where that is not known, or says nothing.

    Args:
        path: a file that could not be used.
    """
    try:
        uid = path.stat().st_uid
    except OSError:
        return ""
    if uid == os.geteuid():
        return ""
    return f"; it belongs to {user_name(uid)}, and this process runs as {user_name(os.geteuid())}"


def user_name(uid: int) -> str:
    """The name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
