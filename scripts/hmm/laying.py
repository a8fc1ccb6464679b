# SPDX-License-Identifier: GPL-2.0
"""A tree made of the base kernel and a stage, written so that the next build compiles what changed and no more.

FOLDER/src is the tree, and FOLDER/assembled.json remembers what was staged in it. That is written before the tree is
changed, so that the next run repairs what a killed one left. FOLDER/source says which base kernel it was copied from.
"""
import json
import os
import shutil

from . import staging
from .pulse import run_with_pulse
from .tree import BASE_SRC, BUILD, TOP, Failure, say, write_atomically


def base_source():
    """Which base kernel lies in build/base/src."""
    stamp = BUILD / "base" / "source"
    if not stamp.is_file():
        raise Failure("no complete base kernel in build/base/src: run make fetch")
    return stamp.read_text()


class Tree:
    def __init__(self, folder):
        self.folder = folder
        self.src = folder / "src"
        self.memory = folder / "assembled.json"
        self.source = folder / "source"

    def copied_from(self, source):
        return self.src.is_dir() and self.source.is_file() and self.source.read_text() == source

    def copy_base(self, source):
        """A whole copy. Build directories beside it belong to the previous tree and are removed."""
        say(f"copying the base kernel to {self.src.relative_to(TOP)}")
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.iterdir():
            if old.is_dir():
                shutil.rmtree(old)
        self.memory.unlink(missing_ok=True)
        fresh = self.src.with_name("src.new")
        # "/.": BASE_SRC may be a link to a tree that must not be changed, so copy what it holds.
        run_with_pulse(["cp", "-a", "--reflink=auto", f"{BASE_SRC}/.", fresh], lambda: "copying")
        fresh.rename(self.src)
        write_atomically(self.source, source.encode())

    def remembered(self):
        """The paths that the last run staged."""
        return set(json.loads(self.memory.read_text())) if self.memory.exists() else set()

    def remember(self, paths):
        write_atomically(self.memory, json.dumps(sorted(paths), indent=0).encode())

    def put(self, path, file):
        """Make PATH in the tree be FILE (None: absent)."""
        target = self.src / path
        if file is None:
            target.unlink()
            return
        temp = target.with_name(target.name + ".hmm-new")
        temp.parent.mkdir(parents=True, exist_ok=True)
        temp.write_bytes(file.data)
        temp.chmod(0o755 if file.executable else 0o644)
        temp.replace(target)

    def drop_empty_folders(self, path):
        """Remove the directories that only contained PATH, except for those of the base kernel."""
        folder = os.path.dirname(path)
        while folder and not (BASE_SRC / folder).exists() and (self.src / folder).is_dir() \
                and not any((self.src / folder).iterdir()):
            (self.src / folder).rmdir()
            folder = os.path.dirname(folder)

    def pending(self, stage):
        """What has to be written: {path: File or None}, for paths staged now or by the last run."""
        restored = {path: staging.current(BASE_SRC, {}, path) for path in self.remembered() - set(stage)}
        return {path: file for path, file in {**stage, **restored}.items()
                if staging.current(self.src, {}, path) != file}

    def up_to_date(self, stage, source):
        return self.copied_from(source) and self.remembered() == set(stage) and not self.pending(stage)

    def bring_up_to_date(self, stage, source):
        """Returns the paths that changed. The caller holds the lock of the directory."""
        if not self.copied_from(source):
            self.copy_base(source)
        changes = self.pending(stage)
        gone = self.remembered() - set(stage)
        self.remember(gone | set(stage))
        for path, file in changes.items():
            self.put(path, file)
        for path in sorted(gone):
            self.drop_empty_folders(path)
        self.remember(stage)
        return list(changes)
