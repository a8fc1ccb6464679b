# SPDX-License-Identifier: GPL-2.0
"""The mutants of a header: one small change each, such as a programmer makes by mistake."""
import re
from collections import Counter
from typing import NamedTuple

from .source import Source

OPERATORS = {
    "<": ("<=", ">="), "<=": ("<", ">"), ">": (">=", "<="), ">=": (">", "<"), "==": ("!=",), "!=": ("==",),
    "&&": ("||",), "||": ("&&",), "!": ("",), "~": ("",), "<<": (">>",), ">>": ("<<",), "++": ("--",), "--": ("++",),
    "+=": ("-=",), "-=": ("+=",), "|=": ("=", "&="), "&=": ("=", "|="), "<<=": (">>=",), ">>=": ("<<=",),
    "^": ("|",), "/": ("*",), "%": ("/",),
}
BINARY = {"+": ("-",), "-": ("+",), "&": ("|",), "|": ("&",)}
NAMES = {
    "min": "max", "max": "min", "ALIGN": "ALIGN_DOWN", "ALIGN_DOWN": "ALIGN", "true": "false", "false": "true",
    "u64": "u32", "u32": "u16", "break": "continue", "continue": "break",
}
CONSTANT = re.compile(r"[A-Z][A-Z0-9_]+")
NO_OPERAND = {"return", "case", "else", "do"}
NUMBER = re.compile(r"(0[xX])?([0-9a-fA-F]+?)([uUlL]*)")


class Mutant(NamedTuple):
    line: int
    where: str      # the function, or the tag of the type
    code: str       # the line that is changed
    change: str     # unique for such a line of that function
    text: str       # the whole header, changed


class Edit(NamedTuple):
    index: int      # the token at which it is reported
    start: int      # what of the text it replaces
    end: int
    now: str
    change: str


def replaced(source, index, now, change=""):
    token = source.tokens[index]
    return Edit(index, token.start, token.end, now, change or f"{token.text} -> {now or 'nothing'}")


def is_operand(source, index):
    """Does an operator after this token have a left side?"""
    token = source.tokens[index]
    return token.kind == "number" or token.text in (")", "]") or \
        token.kind == "name" and token.text not in NO_OPERAND


def operators(source, index):
    """Another operator, or a unary one left out."""
    text = source.at(index)
    binary = is_operand(source, index - 1)
    if text == source.at(index - 1) == "!":
        return  # of !!, the first one is enough
    if text in BINARY and binary:
        yield from (replaced(source, index, now) for now in BINARY[text])
    elif text == "-":
        yield replaced(source, index, "", "unary - -> nothing")
    elif text == "*" and "number" in (source.tokens[index - 1].kind, source.tokens[index + 1].kind):
        yield replaced(source, index, "/")
    yield from (replaced(source, index, now) for now in OPERATORS.get(text, ()))


def neighbours(text):
    """A number plus and minus one, as it is written."""
    prefix, digits, suffix = NUMBER.fullmatch(text).groups()
    value = int(digits, 16 if prefix else 10)
    return [f"{prefix}{number:x}{suffix}" if prefix else f"{number}{suffix}"
            for number in (value + 1, value - 1) if number >= 0]


def operands(source, index, successor):
    """Another number, constant, enumerator, type or function."""
    token, before = source.tokens[index], source.at(index - 1)
    if token.kind == "number":
        yield from (replaced(source, index, now) for now in neighbours(token.text))
    elif token.text == "long" and before == "unsigned":
        yield replaced(source, index, "int")
    elif token.kind != "name" or before in (".", "->", "struct", "enum"):
        return
    elif token.text in NAMES:
        yield replaced(source, index, NAMES[token.text])
    elif token.text in successor:
        yield replaced(source, index, successor[token.text])
    elif CONSTANT.fullmatch(token.text) and source.at(index + 1) != "(" and token.text != "NULL":
        yield replaced(source, index, f"({token.text} + 1)")


def conditions(source, index):
    """A condition that always or never holds."""
    if source.at(index) in ("if", "while"):
        first, last = index + 1, source.partner[index + 1]
        for now in ("true", "false")[source.at(index) == "while":]:
            yield Edit(index, source.tokens[first].start, source.tokens[last].end, f"({now})", f"if -> if {now}")


def enumerators(source):
    """The index of each enumerator, enumeration by enumeration."""
    for index in range(len(source.tokens)):
        body = index + (2 if source.at(index + 2) == "{" else 1)
        if source.at(index) == "enum" and source.at(body) == "{":
            yield [i for i in range(body + 1, source.partner[body])
                   if source.tokens[i].kind == "name" and source.at(i - 1) in ("{", ",")]


def swaps(source, members):
    """Enumerators in another order."""
    for one, two in zip(members, members[1:]):
        if source.at(one + 1) == "," and source.at(two + 1) in (",", "}"):
            first, second = source.tokens[one], source.tokens[two]
            now = second.text + source.text[first.end:second.start] + first.text
            yield Edit(one, first.start, second.end, now, f"{first.text} after {second.text}")


def dropped(source, first, last, now=""):
    return Edit(first, source.tokens[first].start, source.tokens[last].end, now, "dropped")


def drops(source):
    """A statement, a label or an initializer left out."""
    for first, last in source.statements():
        yield dropped(source, first, last, ";")
    for index in range(len(source.tokens)):
        if source.at(index) in ("case", "default"):
            colon = index
            while source.at(colon) != ":":
                colon += 1
            yield dropped(source, index, colon)
        if source.at(index) == "." and source.at(index - 1) in ("{", ","):
            last = index
            while source.at(last + 1) not in (",", "}"):
                last = source.partner[last + 1] if source.at(last + 1) in ("(", "[", "{") else last + 1
            yield dropped(source, index, last + (source.at(last + 1) == ","))


def edits(source):
    members = list(enumerators(source))
    names = [[source.at(index) for index in each] for each in members]
    successor = {name: each[(i + 1) % len(each)] for each in names for i, name in enumerate(each) if len(each) > 1}
    defined = {index for each in members for index in each}
    for each in members:
        yield from swaps(source, each)
    for index in range(len(source.tokens)):
        yield from operators(source, index)
        yield from conditions(source, index)
        if index not in defined:
            yield from operands(source, index, successor)
    yield from drops(source)


def mutants_of(text):
    """Every mutant, in the order of the lines."""
    source, found, times = Source(text), [], Counter()
    for edit in sorted(edits(source), key=lambda edit: edit.start):
        line, code = source.line(edit.index)
        where = code.split()[1] if code.startswith("#") else source.owner[edit.index]
        times[where, code, edit.change] += 1
        number = times[where, code, edit.change]
        found.append(Mutant(line, where, code, edit.change + (f" ({number})" if number > 1 else ""),
                            text[:edit.start] + edit.now + text[edit.end:]))
    return found
