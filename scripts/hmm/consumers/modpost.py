# SPDX-License-Identifier: GPL-2.0
"""The kernel's own judge of exports, modpost, on the objects that were compiled: without a whole kernel to run it on.

What is part of the kernel is linked to a vmlinux.o, and the objects of each module to one. Symbols that neither this
project nor HMM is concerned with are declared to be there. One more module, with another licence than the GPL, refers
to every export: modpost must refuse just those that the base kernel keeps to the GPL.
"""
import collections
import re
import shutil
import subprocess

from ..tree import Failure, clean_env
from .compile import command_of

CLOSED = "closed"
REFUSED = re.compile(r"ERROR: modpost: closed\.ko: GPL-incompatible module uses GPL-only symbol '(\w+)'")
MODULE = re.compile(r" -D__KBUILD_MODNAME=(\w+)")


def module_of(out, path):
    """The module that an object is part of; None for the kernel."""
    command = command_of(out, path)
    return MODULE.search(" ".join(command))[1] if "-DMODULE" in command else None


def stub(licence, names=()):
    """Assembler source of a module's licence and references."""
    return "\n".join([".section .modinfo, \"a\"", f".asciz \"license={licence}\"", ".asciz \"description=-\"", ".data",
                      *(f".quad {name}" for name in names), ".section .note.GNU-stack, \"\", %progbits", ""])


class Room:
    """A directory to link and judge in; modpost writes where it runs."""

    def __init__(self, target):
        self.target = target
        self.folder = target.out() / "modpost"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def run(self, *command):
        return subprocess.run(command, cwd=self.folder, env=clean_env(), text=True, capture_output=True)

    def must(self, *command):
        if (done := self.run(*command)).returncode:
            raise Failure(f"{command[0]} failed for modpost:\n{done.stderr}".rstrip())

    def assemble(self, name, text):
        (self.folder / f"{name}.S").write_text(text)
        self.must(f"{self.target.prefix}gcc", "-c", "-o", f"{name}.o", f"{name}.S")

    def link(self, name, paths):
        self.must(f"{self.target.prefix}ld", "-r", "-o", f"{name}.o", *(self.target.out() / path for path in paths))


def declare(room, names):
    """Make a list of exports of NAMES, which other parts of the kernel provide."""
    lines = (f"0x00000000\t{name}\tvmlinux\tEXPORT_SYMBOL\t\n" for name in sorted(names))
    (room.folder / "others.symvers").write_text("".join(lines))


def check_modpost(target, objects, promised, matters):
    """(number of modules, complaints). OBJECTS: {path: Symbols}; PROMISED: {name: how the base kernel exports it}."""
    room, modules = Room(target), collections.defaultdict(list)
    for path in objects:
        modules[module_of(target.out(), path)].append(path)
    room.link("vmlinux", modules.pop(None))
    exported = set().union(*(symbols.exported for symbols in objects.values()))
    room.assemble("licence", stub("GPL"))
    room.assemble(CLOSED, stub("Proprietary", exported.intersection(promised)))
    for name, paths in modules.items():
        room.link(name, [*paths, "modpost/licence.o"])
    lacking = set().union(*(symbols.lacking for symbols in objects.values()))
    declare(room, {name for name in lacking - exported if not matters(name)})
    # -N: some exports are for modules by the names of their files, which their objects do not tell
    done = room.run(target.out() / "scripts/mod/modpost", "-M", "-N", "-i", "others.symvers",
                    *(f"{name}.o" for name in ("vmlinux", *modules, CLOSED)))
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    refused = {match[1] for match in map(REFUSED.match, errors) if match}
    kept = {name for name, how in promised.items() if how != "EXPORT_SYMBOL" and name in exported}
    return len(modules), [
        *(line.removeprefix("ERROR: ") for line in errors if not REFUSED.match(line)),
        *(f"modpost: {name} is not kept to modules under the GPL, as in the base kernel" for name in kept - refused),
        *(f"modpost: {name} is kept to modules under the GPL" for name in refused - kept)]
