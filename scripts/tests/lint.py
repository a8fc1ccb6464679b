#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of the checks of our own in scripts/lint: python3 scripts/tests/lint.py"""
import importlib.machinery
import importlib.util
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
SCRIPTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SCRIPTS))

from hmm.lint import names, wording  # noqa: E402
from hmm.symbols import Symbols  # noqa: E402

BAD = """\
A folio is locked by somebody else.
Nobody sees it. Someone may.
The folio whose lock he holds, who waits for it.
The range is to be walked.
@end: first address behind
An entry just behind the last.
The flights of this range.
Wait until the flight has ended.
The driver is told of it.
Its pages are to be had.
The entries are set aside.
The lock is lent to us.
The build folder holds objects.
""".splitlines()

GOOD = """\
An invalidation is in flight; invalidations in flight are counted.
Pairs with the acquire in X(): whoever sees the count sees the list entry.
The struct page behind a present PTE.
They can be told apart. The header says that.
The device that it belongs to; its folio; the others.
The range must be walked. What remains to be done.
folder = os.path.dirname(path)
nobody_defines_it() and this_flight_sequence
static bool flights_open(struct flights *flights, const char *who)
setresuid(NOBODY, NOBODY, NOBODY)
""".splitlines()

PATCH = """\
Subject: mm: do not let somebody wait

--- a/mm/one.c
+++ b/mm/one.c
@@ -1,2 +1,2 @@
 /* Somebody of 7.3 wrote this. */
-/* and nobody reads it */
+/* but somebody of ours wrote this */
"""

ONE = """\
/* static int in_comment(void) { */
static int twice(int a,
		 int b)
	__must_hold(&lock)
{
	return called(a);
}

static inline struct page *only_here(void)
{
	return NULL;
}

static int declared(void);
static const struct ops ops = { .call = twice };
int global(void)
{
	return 0;
}
"""

TWO = """\
static __always_inline bool twice(void)
{
	return declared() || only_here() || global();
}
"""


def symbols(defined, lacking):
    return Symbols(set(defined.split()), set(), set(lacking.split()))


def lint():
    """The script as a module; its last line would run it."""
    loader = importlib.machinery.SourceFileLoader("lint_script", str(SCRIPTS / "lint"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    with mock.patch("hmm.tree.main"):
        loader.exec_module(module)
    return module


class Wording(unittest.TestCase):
    def test_bad(self):
        for line in BAD:
            self.assertTrue(wording.complaints("mm/x.c", line), line)

    def test_good(self):
        for line in GOOD:
            self.assertEqual(wording.complaints("mm/x.c", line), [], line)

    def test_every_pattern_has_a_bad_example(self):
        # "land" and "take off" are alternatives of one pattern, with nothing of ours left to show them.
        text = "\n".join([*BAD, "The invalidation has begun and the change lands."])
        for pattern, _ in wording.PATTERNS:
            self.assertTrue(pattern.search(text), pattern.pattern)

    def test_a_patch_counts_for_what_it_adds(self):
        lines = [line.split(":")[1] for line in wording.complaints("patches/x.patch", PATCH)]
        self.assertEqual(lines, ["1", "8"])

    def test_complaint_says_where_and_what(self):
        self.assertEqual(wording.complaints("mm/x.c", "\nIt is to be done."),
                         ["mm/x.c:2: 'is to be': write must, or the future tense"])


class Names(unittest.TestCase):
    def test_static_functions(self):
        self.assertEqual(names.static_functions(ONE), {"twice", "only_here"})

    def test_shared(self):
        self.assertEqual(names.shared_statics({"mm/one.c": ONE, "mm/two.c": TWO}),
                         ["static twice() is defined in mm/one.c and in mm/two.c"])
        self.assertEqual(names.shared_statics({"mm/one.c": ONE}), [])

    def test_no_circle(self):
        self.assertEqual(names.circles({"range.o": symbols("range", "walk printk"), "walk.o": symbols("walk", "policy"),
                                        "policy.o": symbols("policy", "kfree")}), [])

    def test_circle(self):
        found = names.circles({"range.o": symbols("range", "walk"), "walk.o": symbols("walk", "fault"),
                               "fault.o": symbols("fault", "walk dma"), "dma.o": symbols("dma", "")})
        self.assertEqual([line.partition(" use ")[0] for line in found], ["fault.o and walk.o", "walk.o and fault.o"])
        self.assertTrue(found[0].endswith("fault.o uses walk"))


class Binaries(unittest.TestCase):
    def test_elf_and_text(self):
        script = lint()
        with tempfile.TemporaryDirectory() as top:
            pathlib.Path(top, "program").write_bytes(b"\x7fELF\2\1\1\0\0")
            pathlib.Path(top, "text").write_text("text with an umlaut: \u00fc\n")
            with mock.patch.object(script, "TOP", pathlib.Path(top)):
                self.assertEqual(script.check_binaries(), ["program is a binary file"])


if __name__ == "__main__":
    unittest.main()
