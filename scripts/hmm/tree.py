# SPDX-License-Identifier: GPL-2.0
"""Where things are, and the few helpers that every build script needs."""
import contextlib
import fcntl
import os
import pathlib
import signal
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = TOP / "build"
BASE_SRC = BUILD / "base" / "src"
OURS_SRC = BUILD / "ours" / "src"

# A caller's make hands these down; a kernel build must not see any of them.
MAKE_NOISE = (
    "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MAKEFILES", "GNUMAKEFLAGS",
    "IMPL", "CONFIG", "KSRC", "KARGS", "QARGS", "MEM", "SMP", "RUN", "FILES", "KCONFIG",
    "TIMEOUT", "V", "BUILD", "KDIR", "O", "M", "ARCH", "ARCHS", "ARGS", "CROSS_COMPILE", "LLVM",
)


class Failure(Exception):
    """Something the user can act on; its text is all that gets printed."""


def clean_env(**more):
    """The environment without the caller's make and locale; ccache counts each LC_ and LANG."""
    env = {k: v for k, v in os.environ.items() if k not in MAKE_NOISE and not k.startswith("LC_")}
    env.update(LC_ALL="C", LANG="C.UTF-8", **more)
    return env


def say(text):
    """Progress goes to stderr: stdout belongs to results."""
    print(text, file=sys.stderr, flush=True)


def source_of(impl):
    return {"ours": OURS_SRC, "base": BASE_SRC}[impl]


def write_atomically(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(path.name + ".new")
    temp.write_bytes(data)
    temp.replace(path)


def read_list(path):
    """The lines of a plain list, without comments and blanks."""
    if not path.exists():
        return []
    lines = (line.split("#", 1)[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


@contextlib.contextmanager
def locked(folder, shared=False):
    """Hold FOLDER against other runs of these scripts: shared to read its source, else to write.

    The commands we start inherit the lock (close_fds=False): if we are killed, the next
    run waits until the last of them has stopped writing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        os.set_inheritable(lock.fileno(), True)
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that works in {folder}")
            fcntl.flock(lock, kind)
        yield


@contextlib.contextmanager
def building(impl, out):
    """What a build needs: the implementation's source held still, and OUT for itself."""
    with locked(BUILD / impl, shared=True), locked(out):
        yield


def interrupt(*_):
    raise KeyboardInterrupt


def main(function):
    """Run a script's body; turn the expected ends into one line and a status."""
    signal.signal(signal.SIGTERM, interrupt)
    try:
        sys.exit(function())
    except Failure as failure:
        say(f"error: {failure}")
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
    sys.exit(1)
