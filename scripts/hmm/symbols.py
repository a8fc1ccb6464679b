# SPDX-License-Identifier: GPL-2.0
"""The symbols that objects define, export and lack, and whether other objects provide the latter."""
import re
import subprocess
from typing import NamedTuple

from .tree import clean_env

EXPORT = re.compile(r"^(EXPORT_SYMBOL\w*)\(\s*(\w+)\s*(?:,\s*([^)]*?)\s*)?\);", re.M)
LABEL = "__export_symbol_"  # what EXPORT_SYMBOL() and its kin leave in an object


class Symbols(NamedTuple):
    defined: set
    exported: set
    lacking: set


def exports(text):
    """{symbol: how it is exported} of a C file, such as EXPORT_SYMBOL_GPL or EXPORT_SYMBOL_FOR_MODULES("kvm")."""
    return {name: how + (f"({whom})" if whom else "") for how, name, whom in EXPORT.findall(text)}


def parsed(lines):
    """{object: Symbols} from the lines of nm -o."""
    found = {}
    for line in lines:
        path, _, rest = line.partition(":")
        kind, name = rest.split()[-2:]
        symbols = found.setdefault(path, Symbols(set(), set(), set()))
        if name.startswith(LABEL):
            symbols.exported.add(name[len(LABEL):])
        elif kind == "U":
            symbols.lacking.add(name)
        elif kind.isupper():
            symbols.defined.add(name)
    return found


def symbols_of(directory, paths, nm="nm"):
    """{path: Symbols} of objects, given by their paths in DIRECTORY."""
    done = subprocess.run([nm, "-o", *paths], cwd=directory, env=clean_env(), text=True, check=True,
                          stdout=subprocess.PIPE)
    return parsed(done.stdout.splitlines())


def unlinkable(objects, modules, matters):
    """A line for each reason why objects cannot be linked; MODULES are objects that are part of one.

    Only symbols for which MATTERS(name) holds count: the rest is defined by other objects.
    """
    where = {name: path for path, symbols in objects.items() for name in symbols.defined}
    exported = set().union(*(symbols.exported for symbols in objects.values()))
    problems = []
    for path, symbols in objects.items():
        for name in sorted(filter(matters, symbols.lacking)):
            if name not in where:
                problems.append(f"{path} needs {name}, which nothing defines")
            elif path in modules and where[name] not in modules and name not in exported:
                problems.append(f"{path} is of a module and needs {name}, which {where[name]} does not export")
    return problems
