# SPDX-License-Identifier: GPL-2.0
"""A kernel configuration made of tinyconfig and fragments, and the check that all options took effect."""
import re
import subprocess

from .kmake import COMPILERS, cache_env
from .tree import TOP, Failure, say

CONFIGS = TOP / "configs"
# Configurations that are parts of others: their drivers are booted with one kernel
PARTS = {"users": ["nouveau"]}
SET = re.compile(r"(CONFIG_\w+)=(.*)")
UNSET = re.compile(r"# (CONFIG_\w+) is not set")


def fragments_of(impl, config):
    """The files a configuration is merged from, the later one winning.

    What only our tree has is in ours.config and, for the options that not every kernel has, in ours-NAME.config.
    """
    names = dict.fromkeys(["run"])
    for name in config.split("+"):
        names.update(dict.fromkeys([*PARTS.get(name, ()), name]))
    paths = [CONFIGS / f"{name}.config" for name in names]
    if impl == "ours":
        paths.append(CONFIGS / "ours.config")
        paths += [path for name in names if (path := CONFIGS / f"ours-{name}.config").is_file()]
    return paths


def options(path):
    """{symbol: value} of a .config or a fragment; 'n' for a symbol that is not set."""
    found = {}
    for line in path.read_text().splitlines():
        if match := SET.match(line):
            found[match[1]] = match[2]
        elif match := UNSET.match(line):
            found[match[1]] = "n"
    return found


def unsatisfied(fragments, config):
    """The options of the fragments that CONFIG does not have, as readable lines."""
    have = options(config) if config.exists() else {}
    wanted = {}
    for fragment in fragments:
        wanted.update(options(fragment))
    return [f"{symbol}={value} (is {have.get(symbol, 'n')})"
            for symbol, value in wanted.items() if have.get(symbol, "n") != value]


def kconfig(src, out, *arguments):
    """One of the kernel's configuration targets, with the compilers of the build that follows."""
    command = ["make", "-s", f"O={out}", *COMPILERS, *arguments]
    done = subprocess.run(command, cwd=src, env=cache_env(src), text=True, errors="replace",
                          stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        raise Failure(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}".rstrip())


def merge(src, out, fragments, variables=()):
    """Tinyconfig and the fragments; options that they do not name are off, whatever the default.

    Otherwise each menu that a fragment opens would bring its default drivers along.
    """
    for path in fragments:
        if not path.is_file():
            raise Failure(f"no configuration '{path.stem}': {path.relative_to(TOP)} is missing")
    say(f"configuring {out.parent.name}/{out.name}: tinyconfig, "
        + ", ".join(fragment.stem for fragment in fragments))
    kconfig(src, out, *variables, "tinyconfig")
    wanted = out / ".hmm-fragments"
    wanted.write_text("".join(path.read_text() for path in [out / ".config", *fragments]))
    kconfig(src, out, *variables, f"KCONFIG_ALLCONFIG={wanted}", "allnoconfig")
