# SPDX-License-Identifier: GPL-2.0
"""Names of C files: static functions that two files define, and files that use each other's names in a circle."""
import collections
import re

COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)
# In kernel style a definition starts in the first column and its body's brace ends a line. Attributes and macros
# between the name's closing parenthesis and the brace are allowed, a semicolon is not.
STATIC = re.compile(r"^static\b[^;{}=#]*?\b(\w+)\s*\((?:[^;{}#])*?\)[\s\w()]*\{", re.M)


def static_functions(text):
    """The names of the static functions that a C file defines."""
    code = COMMENT_OR_STRING.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    return {match[1] for match in STATIC.finditer(code)}


def shared_statics(files):
    """A line for each static function that several of {path: text} define."""
    where = collections.defaultdict(list)
    for path, text in sorted(files.items()):
        for name in static_functions(text):
            where[name].append(path)
    return [f"static {name}() is defined in {' and in '.join(paths)}"
            for name, paths in sorted(where.items()) if len(paths) > 1]


def users(objects):
    """{object: {object whose names it uses: those names}} of {object: Symbols}."""
    definer = {name: path for path, symbols in objects.items() for name in symbols.defined}
    uses = {path: collections.defaultdict(set) for path in objects}
    for path, symbols in objects.items():
        for name in symbols.lacking:
            if name in definer:
                uses[path][definer[name]].add(name)
    return uses


def reachable(uses, start):
    """Every object that START uses, directly or not; START itself only if it is in a circle."""
    found, pending = set(), [start]
    while pending:
        for other in uses[pending.pop()]:
            if other not in found:
                found.add(other)
                pending.append(other)
    return found


def circles(objects):
    """A line for each use of names within a circle of objects, given as {path: Symbols}."""
    uses = users(objects)
    reach = {path: reachable(uses, path) for path in objects}
    return [f"{path} and {other} use each other's names in a circle: {path} uses {', '.join(sorted(names))}"
            for path in sorted(objects) for other, names in sorted(uses[path].items()) if path in reach[other]]
