# SPDX-License-Identifier: GPL-2.0
"""A C header of inline functions as tokens, with as much of its structure as one needs to change it."""
import re
from typing import NamedTuple

TOKEN = re.compile(r"""
    (?P<skip>/\*.*?\*/ | //[^\n]* | \s+ | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*'
        | ^[ \t]*\#[ \t]*define[ \t]+\w+(?:\([^)]*\))?      # the body of a macro is code
        | ^[ \t]*\#(?:\\\n|[^\n])* | \\\n)
  | (?P<number>0[xX][0-9a-fA-F]+[uUlL]* | \d+[uUlL]*)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<op><<= | >>= | -> | \+\+ | -- | << | >> | <= | >= | == | != | && | \|\| | [-+*/%&|^]= | .)
""", re.X | re.S | re.M)

HEADS = re.compile(r"if|for|while|switch|\w*for_each\w*")
NO_STATEMENT = {"if", "for", "while", "switch", "do", "else", "case", "default", "goto"}
TYPES = {"const", "static", "struct", "enum", "union", "unsigned", "signed", "int", "long", "char", "void", "bool",
         "size_t", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64"}


class Token(NamedTuple):
    kind: str   # number, name or op
    text: str
    start: int
    end: int


def tokens_of(text):
    return [Token(match.lastgroup, match[0], match.start(), match.end())
            for match in TOKEN.finditer(text) if match.lastgroup != "skip"]


class Source:
    """The tokens of a header: which bracket closes which, what is a block, and in which function it is."""

    def __init__(self, text):
        self.text = text
        self.tokens = tokens_of(text)
        self.partner = self._partners()
        self.blocks = {index for index, token in enumerate(self.tokens) if token.text == "{" and self._is_block(index)}
        self.owner = self._owners()

    def at(self, index):
        """The text of a token, "" beyond the ends."""
        return self.tokens[index].text if 0 <= index < len(self.tokens) else ""

    def line(self, index):
        """The number of a token's line, and the line."""
        start = self.tokens[index].start
        return self.text.count("\n", 0, start) + 1, self.text[:start].rpartition("\n")[2].lstrip() + \
            self.text[start:].partition("\n")[0].rstrip()

    def _partners(self):
        partner, open_ones = {}, []
        for index, token in enumerate(self.tokens):
            if token.text in ("(", "[", "{"):
                open_ones.append(index)
            elif token.text in (")", "]", "}"):
                partner[index] = open_ones.pop()
                partner[partner[index]] = index
        return partner

    def _is_block(self, index):
        """Does this brace open statements, not an initializer or a type?"""
        before = self.at(index - 1)
        if before == ")":
            head = self.partner[index - 1] - 1
            return self.tokens[head].kind == "name" and (self._outside(index) or bool(HEADS.fullmatch(self.at(head))))
        return before in (";", "{", "}", ":", "else", "do") and not self._outside(index)

    def _outside(self, index):
        """Is a token outside of all braces?"""
        return not any(self.at(other) == "{" and other < index < self.partner[other] for other in self.partner)

    def _owners(self):
        """For each token the function, or the tag of the type, whose braces it is in or precedes."""
        owner, begun, index = [], 0, 0
        while index < len(self.tokens):
            if self.at(index) == "{":
                head = self.partner[index - 1] - 1 if self.at(index - 1) == ")" else index - 1
                index = self.partner[index]
                owner += [self.at(head)] * (index + 1 - begun)
                begun = index + 1
            index += 1
        return owner + [""] * (len(self.tokens) - begun)

    def in_block(self, index):
        """The innermost brace around a token, if it opens a block; else None."""
        around = [other for other in self.partner if self.at(other) == "{" and other < index < self.partner[other]]
        innermost = max(around, default=None)
        return innermost if innermost in self.blocks else None

    def begins_statement(self, index):
        """Is this the first token of a statement?"""
        if self.in_block(index) is None or self.at(index) in ("{", "}", ";"):
            return False
        before = self.at(index - 1)
        if before == ")":
            return bool(HEADS.fullmatch(self.at(self.partner[index - 1] - 1)))
        if before == "}":
            return self.partner[index - 1] in self.blocks
        if before == ":":
            return self.label(index - 1) is not None
        if before == ";":
            return not any(self.at(other) == "(" and other < index < self.partner[other] for other in self.partner)
        return before in ("{", "else", "do")

    def label(self, colon):
        """Where the label that ends with this colon begins, or None if it is that of a conditional."""
        index = colon - 1
        while index >= 0 and self.at(index) not in (";", "{", "}", ":", "?"):
            if self.at(index) in ("case", "default"):
                return index
            index -= 1
        return None

    def statements(self):
        """(first, last) of each simple statement that can be left out; last is its semicolon."""
        for index in range(len(self.tokens)):
            if not self.begins_statement(index) or self.at(index) in NO_STATEMENT | TYPES:
                continue
            last = index
            while self.at(last) != ";":
                last = self.partner[last] + 1 if self.at(last) in ("(", "[", "{") else last + 1
            if not (self.at(index) == "return" and self._ends_function(last + 1)):
                yield index, last

    def _ends_function(self, index):
        return self.at(index) == "}" and self._outside(self.partner[index])
