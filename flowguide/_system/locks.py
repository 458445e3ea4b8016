"""Locks on files that the system takes back when their process ends, however it ends."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@contextlib.contextmanager
def alone_with(file: Path, doing: str) -> Iterator[None]:
    """Refuses to write a file, or into a folder, while another process does: what one of them
    writes, the other would lose.

    **Arguments:**

    - `file`: in whose folder there is a hidden lock as long as it is held.
    - `doing`: what processes do with the file, such as `"playing into"`.

    **Raises:**

    `RuntimeError` where another process holds the lock.
    """
    lock = file.with_name(f".{file.name}.lock")
    while True:
        with lock.open("a") as stream:
            if not _lock(stream, wait=False):
                raise RuntimeError(
                    f"Another process is {doing} {file}: wait until it is done, or choose another."
                )
            # Another one may have removed it after it was opened here: then nobody else sees it.
            if not _is_same(lock, stream):
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_same(file: Path, stream: Any) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


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
