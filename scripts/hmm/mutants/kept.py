# SPDX-License-Identifier: GPL-2.0
"""The mutants that no test can kill, with the reasons: scripts/hmm/mutants/survivors.

Paragraphs of these lines, the lines of C without their indent:

HEADER: FUNCTION
CODE
CHANGE
REASON...
"""
from ..tree import Failure


def key_of(header, mutant):
    return f"{header}: {mutant.where}", mutant.code, mutant.change


def read(text):
    """{key: reason}"""
    kept = {}
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for paragraph in filter(None, (part.strip("\n") for part in lines.split("\n\n"))):
        where, code, change, *reason = [*paragraph.splitlines(), "", "", ""][:max(4, paragraph.count("\n") + 1)]
        if not any(reason):
            raise Failure(f"survivors: no reason is given for {where}: {code}: {change}")
        if (where, code, change) in kept:
            raise Failure(f"survivors: named twice: {where}: {code}: {change}")
        kept[where, code, change] = " ".join(reason)
    return kept


def differences(survivors, kept, headers):
    """What is wrong, a line each: survivors without a reason, and reasons for mutants of HEADERS that do not survive."""
    stale = [key for key in kept if key not in survivors and key[0].partition(": ")[0] in headers]
    return ([f"no test notices: {': '.join(key)}" for key in survivors if key not in kept] +
            [f"named, but does not survive: {': '.join(key)}" for key in stale])
