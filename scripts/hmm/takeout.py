# SPDX-License-Identifier: GPL-2.0
"""Take one function out of a C file of the kernel, by name, with its comment and export.

Kernel style is relied upon: a definition starts in the first column, and when its
opening brace does, so does the closing one.
"""
import re

from .tree import Failure

TOKEN = re.compile(
    r"/\*.*?\*/|//[^\n]*"                                   # comments
    r'|"(?:\\.|[^"\\\n])*"' r"|'(?:\\.|[^'\\\n])*'"         # literals
    r"|^[ \t]*\#(?:\\\n|/\*.*?\*/|[^\n])*", re.S | re.M)    # directives


def blank(match):
    """Same length, same lines, nothing left that reads like code; a directive's lines start with #."""
    spaces = re.sub(r"[^\n]", " ", match[0])
    directive = match[0].lstrip().startswith("#")
    return re.sub(r"^ ", "#", spaces, flags=re.M) if directive else spaces


def closing(code, start, opening, shutting):
    """Index after the bracket that closes the one at START; -1 if there is none."""
    depth = 0
    for index in range(start, len(code)):
        depth += (code[index] == opening) - (code[index] == shutting)
        if not depth:
            return index + 1
    return -1


def body_start(code, name_match):
    """Index of the brace that opens the body; -1 when this is no definition."""
    line = code.rfind("\n", 0, name_match.start()) + 1
    if code[line:line + 1].isspace():
        return -1
    after = closing(code, name_match.end() - 1, "(", ")")
    while after >= 0 and (more := re.compile(r"\s*\w+\s*\(").match(code, after)):
        after = closing(code, more.end() - 1, "(", ")")  # __releases(lock) and the like
    rest = re.compile(r"[\s\w]*\{").match(code, after) if after >= 0 else None
    return rest.end() - 1 if rest else -1


def body_end(code, brace):
    if code[brace - 1] == "\n":
        found = code.find("\n}", brace)
        return found + 2 if found >= 0 else -1
    return closing(code, brace, "{", "}")


def definitions(code, name):
    """(start of the line with the name, end of the body) of each definition of NAME."""
    for match in re.finditer(rf"\b{re.escape(name)}\s*\(", code):
        brace = body_start(code, match)
        end = body_end(code, brace) if brace >= 0 else -1
        if end >= 0:
            yield code.rfind("\n", 0, match.start()) + 1, end


def head_line(code, text, line):
    """Index of the first line that belongs to the definition whose name is in line LINE."""
    def belongs(candidate):
        if not text[candidate].strip():
            return False
        visible = code[candidate].strip()
        return not visible.startswith("#") and not visible.endswith((";", "}", "\\"))

    while line > 0 and belongs(line - 1):
        line -= 1
    return line


def exports(code, name):
    return [match.span() for match in
            re.finditer(rf"^(?:EXPORT_SYMBOL\w*|ALLOW_ERROR_INJECTION)\({re.escape(name)}\b[^)]*\);\n",
                        code, re.M)]


def function_span(text, code, name, where):
    found = list(definitions(code, name))
    if not found:
        raise Failure(f"{where}: no function '{name}' to take out")
    if len(found) > 1:
        lines = ", ".join(str(code.count("\n", 0, start) + 1) for start, _ in found)
        raise Failure(f"{where}: '{name}' is ambiguous: defined in lines {lines}")
    name_line = code.count("\n", 0, found[0][0])
    first = head_line(code.split("\n"), text.split("\n"), name_line)
    start = sum(len(line) + 1 for line in text.split("\n")[:first])
    end = text.find("\n", found[0][1])
    return start, len(text) if end < 0 else end + 1


def cut(text, start, end):
    """TEXT without [start, end), with a single blank line at the seam and none at the end."""
    before, after = text[:start], text[end:]
    if before.endswith("\n\n"):
        after = after.lstrip("\n")
    return before + after if after else before.rstrip("\n") + "\n"


def without_function(text, name, where):
    """TEXT without the function NAME; WHERE names the file in errors."""
    code = TOKEN.sub(blank, text)
    spans = sorted([function_span(text, code, name, where), *exports(code, name)], reverse=True)
    for start, end in spans:
        text = cut(text, start, end)
    return text
