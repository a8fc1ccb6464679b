# SPDX-License-Identifier: GPL-2.0
"""Whether a kernel build is up to date: make itself takes several seconds to find that out."""
import hashlib
import os
import pathlib
import shutil
import subprocess

from .tree import clean_env, write_atomically

STAMP = ".hmm-built"
TOOLS = ("ccache", "gcc", "ld", "make")


def inputs(out, command):
    """A digest of everything but the source tree that a build depends on."""
    digest = hashlib.sha256(repr(command).encode())
    for tool in map(shutil.which, TOOLS):
        path = pathlib.Path(tool).resolve() if tool else None
        digest.update(f"{path} {path.stat().st_mtime_ns if path else ''}\n".encode())
    for name, value in sorted(clean_env().items()):
        if name.endswith("FLAGS") or name.startswith("KBUILD_"):
            digest.update(f"{name}={value}\n".encode())
    config = out / ".config"
    digest.update(config.read_bytes() if config.is_file() else b"")
    return digest.hexdigest().encode()


def changed_since(src, stamp):
    """Whether anything in the tree SRC was written, added or removed after STAMP was."""
    done = subprocess.run(["find", f"{src}/.", "-cnewer", stamp, "-print", "-quit"], env=clean_env(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return bool(done.returncode or done.stdout)


def up_to_date(src, out, command, products):
    """Whether a complete build of this source by this command is in OUT, with all its PRODUCTS."""
    stamp = out / STAMP
    return (stamp.is_file() and stamp.read_bytes() == inputs(out, command)
            and all((out / name).is_file() for name in products) and not changed_since(src, stamp))


class Record:
    """Records a build when it is complete. A change to the source during the build counts as not built."""

    def __init__(self, out, command):
        self.out, self.command = out, command
        self.begun = out / f"{STAMP}.begun"

    def __enter__(self):
        (self.out / STAMP).unlink(missing_ok=True)
        write_atomically(self.begun, b"")
        return self

    def __exit__(self, failure, *_):
        if failure:
            return
        times = self.begun.stat()
        write_atomically(self.begun, inputs(self.out, self.command))
        os.utime(self.begun, ns=(times.st_mtime_ns, times.st_mtime_ns))
        self.begun.replace(self.out / STAMP)
