# SPDX-License-Identifier: GPL-2.0
"""Compile exactly the objects asked for, and find out how that went."""
import pathlib

from ..kconfig import merge, unsatisfied
from ..kmake import kernel_make
from ..tree import Failure, source_of

# kbuild compiles a file by its name also where the option that it depends on is off: this shows in its command
OFF = "-DHMM_OPTION_IS_OFF"
SHOW_OFF = f"CFLAGS_KERNEL=$(if $(part-of-builtin),,{OFF})"


def make(target, targets, *variables, impl="ours"):
    out = target.out(impl)
    kernel_make(source_of(impl), out, targets, f"{impl}/{out.name}", out.with_suffix(".log"),
                [*target.variables(), SHOW_OFF, *variables])


def prepare(target, impl="ours"):
    out = target.out(impl)
    merge(source_of(impl), out, target.fragments(impl), target.variables())
    if missed := unsatisfied([path for path in target.required() if path in target.fragments(impl)], out / ".config"):
        raise Failure("these options did not take the value asked for:\n  " + "\n  ".join(missed))
    make(target, ["prepare", "modules_prepare"], impl=impl)


def name_for_make(target, path):
    """An object under the name that the Makefile of another directory gives it."""
    for folder, name in (("virt/kvm/", f"arch/{target.arch}/kvm/../../../virt/kvm/"),
                         ("drivers/gpu/drm/amd/amdkfd/", "drivers/gpu/drm/amd/amdgpu/../amdkfd/")):
        path = path.replace(folder, name, 1) if path.startswith(folder) else path
    return path


def compile_(target, objects, *variables):
    """The errors of make. Old objects are removed first: make would not compile them again."""
    for path in objects:
        (target.out() / path).unlink(missing_ok=True)
    try:
        make(target, [name_for_make(target, path) for path in objects], "-k", *variables)
    except Failure as failure:
        return str(failure).splitlines()
    return []


def command_of(out, path):
    """How an object was compiled."""
    record = (out / path).with_name(f".{pathlib.Path(path).name}.cmd")
    return record.read_text().partition("\n")[0].split()


def unbuilt(target, objects):
    """Complaints about objects that are not there, and about those whose option is off."""
    there = [path for path in objects if (target.out() / path).is_file()]
    return [*(f"{path} was not built" for path in objects if path not in there),
            *(f"{path}: its option is off in configs/consumers*.config" for path in there
              if OFF in command_of(target.out(), path))]
