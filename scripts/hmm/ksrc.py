# SPDX-License-Identifier: GPL-2.0
"""The user's own kernel tree (KSRC=): checked, copied, never written to."""
import re
import shutil
import subprocess

from .pulse import run_with_pulse
from .tree import BUILD, Failure, clean_env

ONLY_OURS = ("mm/hmm", "mm/mmu_interval.c", "include/linux/device_exclusive.h")


def version(tree):
    """(series, full version) of a kernel tree, such as ('7.3', '7.3.4')."""
    makefile = tree / "Makefile"
    text = makefile.read_text(errors="replace") if makefile.is_file() else ""
    found = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION) *= *(\S*)", text, re.M))
    if not found.get("VERSION") or not found.get("PATCHLEVEL") or not (tree / "mm/Kconfig").is_file():
        raise Failure(f"KSRC={tree} is not a kernel tree")
    series = f"{found['VERSION']}.{found['PATCHLEVEL']}"
    sublevel = found.get("SUBLEVEL", "0")
    return series, series + (f".{sublevel}" if sublevel != "0" else "") + found.get("EXTRAVERSION", "")


def git(tree, *arguments):
    """A git command that does not refresh the index, in a tree of any owner."""
    if not shutil.which("git"):
        raise Failure(f"KSRC={tree} is a git tree, and git is not installed")
    done = subprocess.run(["git", "--no-optional-locks", "-c", "safe.directory=*", "-C", tree, *arguments],
                          env=clean_env(), text=True, capture_output=True)
    if done.returncode:
        raise Failure(f"KSRC={tree}: {done.stderr.strip()}")
    return done.stdout.strip()


def require_clean(tree):
    if (tree / ".git").exists():
        dirty = git(tree, "status", "--porcelain").splitlines()
        if dirty:
            raise Failure(f"KSRC={tree} has uncommitted changes: {dirty[0].split()[-1]}"
                          + (f" and {len(dirty) - 1} more" if len(dirty) > 1 else ""))
        return
    for built in (".config", "include/config", "vmlinux"):
        if (tree / built).exists():
            raise Failure(f"KSRC={tree} was built in ({built} is there): run make mrproper in it")


def require_stock(tree):
    """A tree that holds files of ours has been laid over, or assembled from this repository."""
    for ours in ONLY_OURS:
        if (tree / ours).exists():
            raise Failure(f"KSRC={tree} is no stock kernel: HMM of this repository is in it already ({ours} is there)")


def check(tree, series):
    """Failure unless TREE is a clean stock kernel tree of SERIES."""
    if not tree.is_dir():
        raise Failure(f"KSRC={tree} is not a directory")
    if tree.is_relative_to(BUILD):
        raise Failure(f"KSRC={tree} lies in this repository's build directory")
    theirs, full = version(tree)
    if theirs != series:
        raise Failure(f"KSRC={tree} is Linux {full}; this repository is for Linux {series}")
    require_stock(tree)
    require_clean(tree)


def identity(tree, stamp):
    """A line that changes when the tree's content may have changed since STAMP was written."""
    if (tree / ".git").exists():
        return f"git {tree} {git(tree, 'rev-parse', 'HEAD')}"
    changed = stamp.exists() and subprocess.run(
        ["find", tree, "-cnewer", stamp, "-print", "-quit"], text=True, capture_output=True).stdout
    return f"tree {tree}" + (f" changed: {changed.strip()}" if changed else "")


def stamp_line(identity_line):
    """The identity to remember after a copy, which has all changes."""
    return identity_line.split(" changed: ")[0]


def copy(tree, target):
    if (tree / ".git").exists():
        target.mkdir(parents=True)
        git_command = "git --no-optional-locks -c safe.directory='*' -C \"$1\" archive HEAD | tar -x -C \"$2\""
        command = ["bash", "-o", "pipefail", "-c", git_command, "copy", tree, target]
    else:
        command = ["cp", "-a", "--reflink=auto", "--no-preserve=ownership", tree, target]
    run_with_pulse(command, lambda: f"copying {tree}")
