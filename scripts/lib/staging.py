# SPDX-License-Identifier: GPL-2.0
"""What the assembled tree has and the base tree has not: computed, not yet written.

Stage: {path in the tree: File, or None where the base's file goes away}.
"""
import os
import pathlib
import re
import subprocess
import tempfile
from typing import NamedTuple

from .takeout import without_function
from .tree import TOP, Failure, read_list

BASE = TOP / "base"
PATCHES = TOP / "patches"
FOLDERS = BASE / "folders"
LEFTOVER = re.compile(r"(~|\.(o|ko|mod|mod\.c|cmd|orig|rej|sw[op]|pyc))$|^\.#|^__pycache__$")


class File(NamedTuple):
    data: bytes
    executable: bool


def read(path):
    return File(path.read_bytes(), os.access(path, os.X_OK))


def current(base, stage, path):
    """The file as staged so far; None where there is none."""
    if path in stage:
        return stage[path]
    return read(base / path) if (base / path).is_file() else None


def remove(base, stage):
    """base/removed: whole files, and single functions."""
    for entry in read_list(BASE / "removed"):
        path, _, function = (part.strip() for part in entry.partition(":"))
        file = current(base, stage, path)
        if file is None:
            raise Failure(f"base/removed: the base kernel has no {path}")
        text = function and without_function(file.data.decode(), function, path)
        stage[path] = file._replace(data=text.encode()) if function else None


def touched(patch):
    """The paths a patch edits, adds or deletes."""
    names = re.findall(r"^(?:---|\+\+\+) [ab]/(\S+)", patch.read_text(), re.M)
    return sorted(set(names))


def apply(base, stage, patch):
    """Apply one patch to copies of the files it names; context must match exactly."""
    with tempfile.TemporaryDirectory() as scratch:
        room = pathlib.Path(scratch)
        for path in touched(patch):
            (room / path).parent.mkdir(parents=True, exist_ok=True)
            if file := current(base, stage, path):
                (room / path).write_bytes(file.data)
        done = subprocess.run(
            ["patch", "-p1", "-F0", "--batch", "--forward", "--no-backup-if-mismatch", "-r", "-",
             "-i", patch], cwd=room, text=True, errors="replace", capture_output=True)
        if done.returncode:
            raise Failure(f"patches/{patch.name} does not apply:\n{done.stdout}{done.stderr}".rstrip())
        for path in touched(patch):
            old = current(base, stage, path)
            data = (room / path).read_bytes() if (room / path).is_file() else None
            stage[path] = None if data is None else File(data, bool(old and old.executable))


def patch(base, stage):
    for name in read_list(PATCHES / "series"):
        if not (PATCHES / name).is_file():
            raise Failure(f"patches/series names {name}, which is not there")
        apply(base, stage, PATCHES / name)


def our_files():
    """Every file of the folders in base/folders, editors' and compilers' droppings aside."""
    for folder in read_list(FOLDERS):
        for where, folders, names in os.walk(TOP / folder):
            folders[:] = sorted(name for name in folders if not LEFTOVER.search(name))
            for name in sorted(names):
                if not LEFTOVER.search(name):
                    yield pathlib.Path(where, name).relative_to(TOP)


def lay_over(base, stage):
    removed = {path for path, file in stage.items() if file is None}
    for ours in our_files():
        path = str(ours)
        if path not in removed and current(base, stage, path) is not None:
            raise Failure(f"{path} would replace the base kernel's file: "
                          "name it in base/removed, or make the change a patch")
        stage[path] = read(TOP / ours)


def compute(base):
    """The whole stage, in the order: take out, patch, lay ours over."""
    stage = {}
    remove(base, stage)
    patch(base, stage)
    lay_over(base, stage)
    return stage
