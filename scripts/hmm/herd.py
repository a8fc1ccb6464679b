# SPDX-License-Identifier: GPL-2.0
"""herd7, which judges litmus tests: the one on PATH, or Debian's.

Only Debian's newest suite has one that is new enough for the kernel's memory model. Its packages are unpacked in
build/herd with the C library that they need, and that library's own loader starts the program: nothing is installed.
"""
import shutil

from .apt import PrivateApt
from .pulse import run_with_pulse
from .tree import BUILD, Failure, locked, say

SUITE = "sid"
PACKAGE = "herdtools7"
FOLDER = BUILD / "herd"
ROOT = FOLDER / "root"


def unpacked(root):
    """The command that runs the herd7 in ROOT."""
    return [root / "usr/lib64/ld-linux-x86-64.so.2", "--library-path", root / "usr/lib/x86_64-linux-gnu",
            root / "usr/bin/herd7", "-set-libdir", root / "usr/share/herdtools7/herd"]


def present():
    """The command that runs herd7, or None if it must be fetched."""
    on_path = shutil.which("herd7")
    if on_path:
        return [on_path]
    return unpacked(ROOT) if ROOT.is_dir() else None


def fetch(root):
    """Unpack herd7 and what it depends on, complete and able to run or not at all."""
    fresh, state = root.with_name("root.new"), root.with_name("apt")
    shutil.rmtree(fresh, ignore_errors=True)
    private = PrivateApt(state, SUITE)
    private.update()
    for deb in private.download(*(f"{package}/{SUITE}" for package in private.closure(PACKAGE))):
        run_with_pulse(["dpkg-deb", "-x", deb, fresh], lambda: "unpacking")
    for program in (fresh / "usr/bin").iterdir():
        if program.name != "herd7":
            program.unlink()
    run_with_pulse([*unpacked(fresh), "-version"], lambda: "starting herd7")
    fresh.rename(root)
    shutil.rmtree(state)


def command():
    """The command that runs herd7, which is fetched if it is missing."""
    if not present():
        with locked(FOLDER):
            if not ROOT.is_dir():
                say(f"herd7 is not on PATH: taking Debian's {PACKAGE} of {SUITE}")
                try:
                    fetch(ROOT)
                except Failure as failure:
                    raise Failure(f"{failure}\nWithout it, put herd7 7.58 or newer on PATH") from None
    return present()
