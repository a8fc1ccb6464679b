# SPDX-License-Identifier: GPL-2.0
"""How the assembled tree differs from the base tree: computed, not yet written.

Stage: {path in the tree: File, or None if the base's file is removed}.
"""
import os
import pathlib
import re
import subprocess
import tempfile
from typing import NamedTuple

from .series import our_paths, patches
from .takeout import without_function
from .tree import TOP, Failure

BASE = TOP / "base"

# Of a Makefile: an assignment, with its continuation lines; and a condition with nothing in it
ASSIGNMENT = re.compile(r"^(?P<head>[^\s#=]+[ \t]*[:+]?=)(?P<words>(?:\\\n|[^\n])*)\n", re.M)
EMPTY_CONDITION = re.compile(r"^ifn?(?:def|eq)\b[^\n]*\nendif\n", re.M)


class File(NamedTuple):
    data: bytes
    executable: bool


def read(path):
    return File(path.read_bytes(), os.access(path, os.X_OK))


def current(base, stage, path):
    """The file as staged so far; None if there is none."""
    if path in stage:
        return stage[path]
    return read(base / path) if (base / path).is_file() else None


def remove(base, stage, patch):
    for path, function in patch.remove:
        file = current(base, stage, path)
        if file is None:
            raise Failure(f"{patch.where('remove')}: the kernel has no {path} there")
        text = function and without_function(file.data.decode(), function, path)
        stage[path] = file._replace(data=text.encode()) if function else None


def touched(hooks):
    """The paths that a patch edits, adds or deletes."""
    return sorted(set(re.findall(r"^(?:---|\+\+\+) [ab]/(\S+)", hooks, re.M)))


def apply(base, stage, patch):
    """Apply hooks.patch to copies of the files it names; context must match exactly."""
    with tempfile.TemporaryDirectory() as scratch:
        room = pathlib.Path(scratch)
        paths = touched(patch.hooks)
        for path in paths:
            (room / path).parent.mkdir(parents=True, exist_ok=True)
            if file := current(base, stage, path):
                (room / path).write_bytes(file.data)
        done = subprocess.run(
            ["patch", "-p1", "-F0", "--batch", "--forward", "--no-backup-if-mismatch", "-r", "-"],
            input=patch.hooks, cwd=room, text=True, encoding="utf-8", errors="replace", capture_output=True)
        if done.returncode:
            raise Failure(f"{patch.where('hooks.patch')} does not apply:\n{done.stdout}{done.stderr}".rstrip())
        for path in paths:
            old = current(base, stage, path)
            data = (room / path).read_bytes() if (room / path).is_file() else None
            stage[path] = None if data is None else File(data, bool(old and old.executable))


def our_files():
    """Our files that belong in a kernel tree."""
    return map(pathlib.Path, our_paths())


def lay_over(base, stage, patch, ours):
    """Put the files of a patch in place, and where they come from in OURS."""
    for path in patch.files:
        if path not in ours and current(base, stage, path) is not None:
            raise Failure(f"{path} would replace the kernel's file: name it in {patch.where('remove')}, "
                          "or make the change a hook")
        ours[path] = patch.source(path)
        stage[path] = read(ours[path])


def without_objects(text, folder, absent):
    """A Makefile of ours without the objects and directories whose files enter the tree later."""
    def is_there(word):
        if word.endswith(".o"):
            return f"{folder}/{word[:-2]}.c" not in absent
        return not (word.endswith("/") and any(path.startswith(f"{folder}/{word}") for path in absent))

    def shortened(match):
        words = match["words"].replace("\\\n", " ").split()
        there = [word for word in words if is_there(word)]
        if there == words:
            return match[0]
        return f"{match['head']} {' '.join(there)}\n" if there else ""

    return EMPTY_CONDITION.sub("", ASSIGNMENT.sub(shortened, text))


def fit_makefiles(stage, ours, absent):
    """Build what has entered so far: each Makefile of ours grows with the files that it names."""
    for path, source in ours.items():
        if pathlib.Path(path).name in ("Makefile", "Kbuild"):
            file = read(source)
            text = without_objects(file.data.decode(), str(pathlib.Path(path).parent), absent)
            stage[path] = file._replace(data=text.encode())


def states(base):
    """(patch, stage after it), in order."""
    stage, ours = {}, {}
    series = patches()
    absent = {path for patch in series for path in patch.files}
    for patch in series:
        if mine := sorted(ours.keys() & touched(patch.hooks)):
            raise Failure(f"{patch.where('hooks.patch')} edits {mine[0]}, which is ours: edit it there")
        remove(base, stage, patch)
        if patch.hooks:
            apply(base, stage, patch)
        lay_over(base, stage, patch, ours)
        absent.difference_update(patch.files)
        fit_makefiles(stage, ours, absent)
        yield patch, dict(stage)


def compute(base):
    """The whole stage: after the last patch."""
    stage = {}
    for _, stage in states(base):
        pass
    return stage


def removed():
    """What the series removes from the kernel: (path, function or "")."""
    return [entry for patch in patches() for entry in patch.remove]
