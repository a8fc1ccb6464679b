# SPDX-License-Identifier: GPL-2.0
"""Phrases that our text does not use; see Documentation/mm/hmm-glossary.rst for the terms that it does."""
import re

# (pattern, what to write instead). A pattern must not match text that is fine: prefer to miss a bad phrase.
BANNED = (
    (r"(some|any|no)body|(some|any)one", "name the thing: a task, the caller, another walk"),
    (r"who(?= [a-z])|(?<!')he|his|him", "it, that or which: code and folios are not persons"),
    (r"(is|are|was|were) to be", "must, or the future tense"),
    (r"(first \w+|just|right|directly) behind|behind the (end|last)", "after, the last byte + 1, or end"),
    (r"(?<!struct )flights(?= [a-z])|(a|the|each|every|its|one|no|any|this|such) flight", "invalidation in flight"),
    (r"(invalidations?|flights?|changes?) (lands?|landed|takes? off|took off)", "ends, starts"),
    (r"(is|are|was|were|be|been|being|get|gets|not|who) told(?! apart)", "notified, called, or name the message"),
    (r"(be|is|are|was|were|been) had", "locked, made exclusive, isolated: name the action"),
    (r"(set|put) aside", "replaced, kept, reserved: name the action"),
    (r"lent|takeable", "borrowed; candidate"),
    (r"(an?|the|this|that|each|every|its|own|build|parent|empty|whole|two) folders?", "directory"),
)
PATTERNS = [(re.compile(rf"\b({pattern})\b", re.I), instead) for pattern, instead in BANNED]

# Files that must contain such phrases
EXEMPT = {
    "COPYING": "the licence",
    "scripts/hmm/lint/wording.py": "the list itself",
    "scripts/tests/lint.py": "bad examples",
}


def own_lines(path, text):
    """(number, line) of what is ours: of a patch its message and the lines it adds, not those of the kernel."""
    in_diff = False
    for number, line in enumerate(text.splitlines(), 1):
        if not path.endswith(".patch"):
            yield number, line
            continue
        in_diff = in_diff or line.startswith(("diff ", "--- ", "@@ "))
        if not in_diff or line.startswith("+") and not line.startswith("+++ "):
            yield number, line


def complaints(path, text):
    """One for each banned phrase in a file."""
    if path in EXEMPT:
        return []
    return [f"{path}:{number}: '{match[0]}': write {instead}"
            for number, line in own_lines(path, text)
            for pattern, instead in PATTERNS for match in pattern.finditer(line)
            if not match[0].isupper()]  # a constant, such as NOBODY
