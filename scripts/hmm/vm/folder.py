# SPDX-License-Identifier: GPL-2.0
"""Directories for logs, each used by one run at a time."""
import errno
import fcntl
import os


def claim_folder(parent, wanted):
    """A directory below `parent` that no other running script uses, and the open file that holds the lock on it.

    The first try is called `wanted`, the next `wanted`-2, and so on; the lock goes with its process.
    """
    number = 1
    while True:
        folder = os.path.join(parent, wanted if number == 1 else f"{wanted}-{number}")
        os.makedirs(folder, exist_ok=True)
        lock = os.fdopen(os.open(os.path.join(folder, "lock"), os.O_CREAT | os.O_WRONLY, 0o644), "wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return folder, lock
        except OSError as error:
            lock.close()
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        number += 1
