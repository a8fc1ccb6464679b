# SPDX-License-Identifier: GPL-2.0
"""Which files scripts/consumers compiles: what uses HMM or the notifiers in the base kernel, and what is ours."""
import pathlib
import re
import subprocess

from ..staging import BASE, our_files, removed
from ..tree import BASE_SRC, Failure, clean_env, read_list
from .targets import NAMES

USES = re.compile("mmu_interval|mmu_notifier|linux/hmm|hmm_range|hmm_pfn|hmm_dma|migrate_vma_|migrate_device_"
                  "|make_device_exclusive|MEMORY_DEVICE_PRIVATE|is_device_private")
KERNEL = ("drivers", "lib", "mm")  # directories of ours with files of the kernel


def users():
    """The C files of the base kernel that name HMM or the MMU notifiers."""
    done = subprocess.run(["grep", "-rlE", "--include=*.c", USES.pattern, "."], cwd=BASE_SRC, env=clean_env(),
                          text=True, check=True, stdout=subprocess.PIPE)
    paths = (line.removeprefix("./") for line in done.stdout.splitlines())
    return {path for path in paths if not path.startswith(("tools/", "Documentation/"))}


def entries(name):
    """{path: what stands behind the colon} of a list in base/."""
    return {path.strip(): rest.strip() for path, _, rest in (line.partition(":") for line in read_list(BASE / name))}


def within(path, place):
    """Whether PLACE, a file or a directory/, is or holds PATH."""
    return path == place or place.endswith("/") and path.startswith(place)


def natives(found):
    """{file or directory/: the names of the targets that have it}; each must hold one of the files FOUND."""
    places = {place: names.split() for place, names in entries("native").items()}
    for place, names in places.items():
        if not any(within(path, place) for path in found):
            raise Failure(f"base/native: {place} does not use HMM in this kernel: take it from the list")
        if wrong := set(names) - set(NAMES):
            raise Failure(f"base/native: {place}: there is no {' '.join(sorted(wrong))}; it may be: {' '.join(NAMES)}")
    return places


def kernel_users():
    """The users that some target may have: without files that the series removes, and those in base/foreign."""
    found = users()
    for path in entries("foreign"):
        if path not in found:
            raise Failure(f"base/foreign: {path} does not use HMM in this kernel: take it from the list")
        found.remove(path)
    return found - {path for path, function in removed() if not function}


def users_for(target, found):
    """Those of the users FOUND that a target has."""
    places = natives(found)

    def has(path):
        return all(target.name in names for place, names in places.items() if within(path, place)) \
            and (not path.startswith("arch/") or path.startswith(f"arch/{target.arch}/"))

    return sorted(filter(has, found))


def our_sources():
    return [str(path) for path in our_files() if path.suffix == ".c" and path.parts[0] in KERNEL]


def object_of(source):
    return str(pathlib.Path(source).with_suffix(".o"))


def removed_sources():
    """The C files that lose something, or all, to ours."""
    return sorted({path for path, _ in removed() if path.endswith(".c")})
