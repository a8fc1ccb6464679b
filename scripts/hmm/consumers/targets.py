# SPDX-License-Identifier: GPL-2.0
"""The kinds of kernel for which scripts/consumers compiles: an architecture and a page size."""
from typing import NamedTuple

from ..tree import BUILD, TOP, Failure


class Target(NamedTuple):
    name: str  # as in configs/consumers-NAME.config
    arch: str  # the directory below arch/
    prefix: str = ""  # of the cross compiler and its binutils

    def variables(self):
        """What make has to know, also for the configuration."""
        if not self.prefix:
            return []
        return [f"ARCH={self.arch}", f"CROSS_COMPILE={self.prefix}", f"CC=ccache {self.prefix}gcc"]

    def fragments(self, impl="ours"):
        names = ("run", "consumers", f"consumers-{self.name}", *(["ours", "ours-nouveau"] if impl == "ours" else []))
        return [TOP / "configs" / f"{name}.config" for name in names]

    def required(self):
        """The fragments of which each option must take effect.

        Other architectures lack some of run.config's options: what matters of it there is that files are compiled.
        """
        return self.fragments()[1 if self.prefix else 0:]

    def out(self, impl="ours"):
        return BUILD / impl / f"consumers-{self.name}"


TARGETS = (
    Target("x86_64", "x86"),
    Target("arm64", "arm64", "aarch64-linux-gnu-"),
    Target("arm64-64k", "arm64", "aarch64-linux-gnu-"),
    Target("powerpc", "powerpc", "powerpc64le-linux-gnu-"),
)
NAMES = [target.name for target in TARGETS]


def chosen(words):
    """The targets that WORDS names; all of them for "all"."""
    names = NAMES if words == "all" else words.split()
    if wrong := [name for name in names if name not in NAMES]:
        raise Failure(f"ARCHS={words}: there is no {wrong[0]}; give some of: {' '.join(NAMES)}, or all")
    return [target for target in TARGETS if target.name in names]
