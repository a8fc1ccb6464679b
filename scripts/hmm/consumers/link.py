# SPDX-License-Identifier: GPL-2.0
"""Whether the objects that scripts/consumers compiled would link, to the kernel and as modules."""
from ..symbols import exports, symbols_of, unlinkable
from ..tree import BASE_SRC, OURS_SRC
from .compile import command_of
from .modpost import check_modpost
from .sources import USES, our_sources, removed_sources

# Calls of older kernels with another contract: code for those must not compile
RETIRED = ("make_device_exclusive_range",)  # of 5.14 to 6.14; see device_exclusive_make_range()

TRACEPOINTS = ("__tracepoint_", "__traceiter_")


def exports_in(tree, paths):
    return {name: how for path in paths if (tree / path).is_file()
            for name, how in exports((tree / path).read_text()).items()}


def kept_exports(promised, exported):
    """Complaints about exports that differ from the base kernel's; EXPORTED are those in the objects of our sources."""
    source = exports_in(OURS_SRC, our_sources())
    kept = exports_in(OURS_SRC, removed_sources()) | source
    return [*(f"{name} is exported by {how} in the base kernel; in ours: {kept.get(name, 'not at all')}"
              for name, how in promised.items() if kept.get(name) != how),
            *(f"{name} is exported by our source, but by no object of it"
              for name in promised if name in source and name not in exported)]


def check_links(target, paths, own):
    """(what was counted, complaints about exports and about symbols that objects lack)."""
    objects = symbols_of(target.out(), paths, f"{target.prefix}nm")
    promised = exports_in(BASE_SRC, removed_sources())
    defined = set().union(*(objects[path].defined for path in own))

    def matters(name):
        """Also what drivers name after HMM, but for their tracepoints, which objects of no concern here define."""
        return name in promised or name in defined or USES.search(name) and not name.startswith(TRACEPOINTS)

    modules, refused = check_modpost(target, objects, promised, matters)
    return f"{modules} modules, {len(promised)} exports", [
        *kept_exports(promised, set().union(*(objects[path].exported for path in own))),
        *(f"{name} is the name of a call of older kernels with another contract"
          for name in exports_in(OURS_SRC, our_sources()) if name in RETIRED),
        *unlinkable(objects, {path for path in paths if "-DMODULE" in command_of(target.out(), path)}, matters),
        *refused]
