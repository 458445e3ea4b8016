"""Locks on files that the system takes back when their process ends, however it ends."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

# What a file system without locks answers, or one that shares them with nobody.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(file: Path, *, wait: bool) -> Iterator[bool]:
    """Holds a file's lock, if that can be had. On a file system without locks it always can.

    **Arguments:**

    - `file`: made if missing.
    - `wait`: whether to wait for another process that holds it.

    **Returns:**

    Whether the lock is held, for `with`.
    """
    with file.open("a") as stream:
        yield _lock(stream, wait)


def is_locked(file: Path) -> bool:
    """Whether a process holds the lock of a file."""
    if not file.exists():
        return False
    with locked(file, wait=False) as is_free:
        return not is_free


def _lock(stream, wait: bool) -> bool:
    try:
        import fcntl
    except ImportError:  # Not on this operating system.
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
