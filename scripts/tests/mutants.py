#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/mutants, what it changes and how it judges: python3 scripts/tests/mutants.py"""
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
SCRIPTS = pathlib.Path(__file__).resolve().parents[1]
TOP = SCRIPTS.parent
sys.path.insert(0, str(SCRIPTS))

from hmm.mutants import kept  # noqa: E402
from hmm.mutants.edits import mutants_of  # noqa: E402
from hmm.mutants.trial import KILLED, SURVIVED, UNBUILT, Bench, limit_for  # noqa: E402
from hmm.tree import Failure, read_list  # noqa: E402

PAIRS = [line.split() for line in read_list(SCRIPTS / "hmm/mutants/pairs")]
HEADER, SUITE = "drivers/gpu/drm/nouveau/nouveau_svm_decide.h", "nouveau_svm_decide_kunit"

FUNCTION = """\
static inline int f(int a, int b)
{
%s
}
"""


def changes(body):
    """What is changed in the body of a function: the change, and the new body."""
    text = FUNCTION % body
    head, tail = text.split(body)
    return {(mutant.change, mutant.text[len(head):-len(tail)]) for mutant in mutants_of(text)}


class Changes(unittest.TestCase):
    def test_comparisons(self):
        self.assertEqual(changes("return a < b;"), {("< -> <=", "return a <= b;"), ("< -> >=", "return a >= b;")})
        self.assertEqual(changes("return a >= b;"), {(">= -> >", "return a > b;"), (">= -> <", "return a < b;")})
        self.assertEqual(changes("return a != b;"), {("!= -> ==", "return a == b;")})

    def test_logic_and_bits(self):
        self.assertEqual(changes("return a && !b;"), {("&& -> ||", "return a || !b;"),
                                                      ("! -> nothing", "return a && b;")})
        self.assertEqual(changes("return a & ~b;"), {("& -> |", "return a | ~b;"), ("~ -> nothing", "return a & b;")})
        self.assertEqual(changes("return a >> b | a;"), {(">> -> <<", "return a << b | a;"),
                                                         ("| -> &", "return a >> b & a;")})

    def test_unary_operators(self):
        self.assertEqual(changes("return !!a;"), {("! -> nothing", "return !a;")})
        self.assertEqual(changes("return -a;"), {("unary - -> nothing", "return a;")})
        self.assertEqual(changes("return f(&a, *b);"), set())

    def test_arithmetic(self):
        self.assertEqual(changes("return a - b;"), {("- -> +", "return a + b;")})
        self.assertEqual(changes("return a % b / a;"), {("% -> /", "return a / b / a;"), ("/ -> *", "return a % b * a;")})

    def test_numbers(self):
        self.assertEqual(changes("return 7UL;"), {("7UL -> 8UL", "return 8UL;"), ("7UL -> 6UL", "return 6UL;")})
        self.assertEqual(changes("return 0x1f;"), {("0x1f -> 0x20", "return 0x20;"), ("0x1f -> 0x1e", "return 0x1e;")})
        self.assertEqual(changes("return 0;"), {("0 -> 1", "return 1;")})

    def test_names(self):
        self.assertEqual(changes("return min(a, b);"), {("min -> max", "return max(a, b);")})
        self.assertEqual(changes("return PAGE_SHIFT;"), {("PAGE_SHIFT -> (PAGE_SHIFT + 1)", "return (PAGE_SHIFT + 1);")})
        self.assertEqual(changes("return BIT(a);"), set())
        self.assertEqual(changes("return (u64)a;"), {("u64 -> u32", "return (u32)a;")})
        self.assertEqual(changes("return (unsigned long)a;"), {("long -> int", "return (unsigned int)a;")})

    def test_conditions_and_statements(self):
        self.assertEqual(changes("if (a)\n\tb = a;\nreturn b;"), {
            ("if -> if true", "if (true)\n\tb = a;\nreturn b;"), ("if -> if false", "if (false)\n\tb = a;\nreturn b;"),
            ("dropped", "if (a)\n\t;\nreturn b;")})
        self.assertEqual(changes("for (; a; f(a))\n\tf(b);"), {("dropped", "for (; a; f(a))\n\t;")})
        self.assertEqual(changes("int c = a;\n\nreturn c;"), set())

    def test_early_returns_are_dropped_and_the_last_is_not(self):
        self.assertIn(("dropped", "if (a)\n\t;\nreturn b;"), changes("if (a)\n\treturn a;\nreturn b;"))
        self.assertNotIn(("dropped", ";"), changes("return a;"))

    def test_labels(self):
        self.assertEqual(changes("switch (a) {\ncase -b:\n\treturn a ? b : a;\ndefault:\n\tbreak;\n}\nreturn b;"), {
            ("dropped", "switch (a) {\n\n\treturn a ? b : a;\ndefault:\n\tbreak;\n}\nreturn b;"),
            ("unary - -> nothing", "switch (a) {\ncase b:\n\treturn a ? b : a;\ndefault:\n\tbreak;\n}\nreturn b;"),
            ("dropped", "switch (a) {\ncase -b:\n\t;\ndefault:\n\tbreak;\n}\nreturn b;"),
            ("dropped", "switch (a) {\ncase -b:\n\treturn a ? b : a;\n\n\tbreak;\n}\nreturn b;"),
            ("dropped", "switch (a) {\ncase -b:\n\treturn a ? b : a;\ndefault:\n\t;\n}\nreturn b;"),
            ("break -> continue",
             "switch (a) {\ncase -b:\n\treturn a ? b : a;\ndefault:\n\tcontinue;\n}\nreturn b;")})

    def test_initializers(self):
        self.assertEqual(changes("return (struct s){ .a = f(a, b), .b = b };"), {
            ("dropped", "return (struct s){  .b = b };"), ("dropped (2)", "return (struct s){ .a = f(a, b),  };")})

    def test_enumerators(self):
        text = "enum e {\n\tONE_A,\n\tONE_B,\n};\nstatic inline int f(int ONE_C)\n{\n\treturn ONE_B;\n}\n"
        self.assertIn("enum e {\n\tONE_B,\n\tONE_A,\n};", [mutant.text.partition("\nstatic")[0]
                                                         for mutant in mutants_of(text)])
        self.assertIn(("f", "ONE_B -> ONE_A"), [(mutant.where, mutant.change) for mutant in mutants_of(text)])

    def test_only_code_is_changed(self):
        self.assertEqual(mutants_of('/* 1 < 2 */\n#include <linux/mm.h>\n#ifndef A_1\n#define A_1\n// 1 && 2\n#endif\n'
                                    'static inline const char *f(void)\n{\n\treturn "1 < 2";\n}\n'), [])

    def test_bodies_of_macros_are_code(self):
        self.assertEqual([(mutant.line, mutant.where, mutant.change) for mutant in mutants_of("\n#define A_1 9\n")],
                         [(2, "A_1", "9 -> 10"), (2, "A_1", "9 -> 8")])

    def test_mutants_of_the_repository_have_names_of_their_own(self):
        for path in [TOP / header for header, _ in PAIRS] + sorted((TOP / "mm/hmm").glob("*.h")):
            with self.subTest(path.name):
                text = path.read_text()
                mutants = mutants_of(text)
                names = {kept.key_of(path.name, mutant) for mutant in mutants}
                self.assertEqual(len(names), len(mutants))
                self.assertEqual(len({mutant.text for mutant in mutants} - {text}), len(mutants))
                for mutant in mutants:
                    self.assertIn(mutant.code, text.splitlines()[mutant.line - 1])


class Kept(unittest.TestCase):
    TEXT = "# about\n\na.h: f\nreturn a < b;\n< -> <=\nEquivalent:\nthey differ.\n\nb.h: g\n\treturn 1;\n1 -> 2\nWhy.\n"
    ONE, TWO = ("a.h: f", "return a < b;", "< -> <="), ("b.h: g", "\treturn 1;", "1 -> 2")

    def test_read(self):
        self.assertEqual(kept.read(self.TEXT), {self.ONE: "Equivalent: they differ.", self.TWO: "Why."})

    def test_a_reason_is_needed(self):
        for text in ("a.h: f\nreturn a;\n1 -> 2\n", "a.h: f\n"):
            self.assertRaises(Failure, kept.read, text)

    def test_named_once(self):
        self.assertRaises(Failure, kept.read, f"{self.TEXT}\n{self.TEXT}")

    def test_survivors_and_names_must_agree(self):
        named = kept.read(self.TEXT)
        self.assertEqual(kept.differences({self.ONE, self.TWO}, named, {"a.h", "b.h"}), [])
        self.assertEqual(kept.differences({self.ONE}, named, {"a.h"}), [])
        self.assertEqual(len(kept.differences({self.ONE}, named, {"a.h", "b.h"})), 1)
        self.assertEqual(len(kept.differences({self.ONE, self.TWO}, {self.TWO: "Why."}, {"a.h", "b.h"})), 1)

    def test_those_of_the_repository_exist(self):
        keys = {kept.key_of(header, mutant) for header, _ in PAIRS
                for mutant in mutants_of((TOP / header).read_text())}
        self.assertEqual(set(kept.read((SCRIPTS / "hmm/mutants/survivors").read_text())) - keys, set())


class Trials(unittest.TestCase):
    def setUp(self):
        room = tempfile.TemporaryDirectory()
        self.addCleanup(room.cleanup)
        self.room = pathlib.Path(room.name)

    def how(self, script):
        """How a program fails."""
        program = self.room / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return Bench(self.room / "bench", 1).run(program)

    def test_programs(self):
        self.assertEqual(self.how("echo ok 1 s.a; exit 0"), "")
        self.assertEqual(self.how("echo ok 1 s.a; echo not ok 2 s.b; exit 1"), "b")
        self.assertEqual(self.how("echo not ok 2 s.b; while :; do :; done"), "b")
        self.assertEqual(self.how("exit 3"), "status 3")
        self.assertEqual(self.how("echo x.h:7:1: runtime error: shift; exit 1"), "runtime error: shift")
        self.assertEqual(self.how("while :; do :; done"), "does not end")

    def test_headers(self):
        text = (TOP / HEADER).read_text()
        self.assertGreater(limit_for(self.room / "limit", HEADER, SUITE), 0)
        bench = Bench(self.room / "bench", 60)
        broken = text.replace("BIT(31)", "BIT(30)")
        self.assertEqual(bench.trial(HEADER, broken, SUITE),
                         (KILLED, "entries_of_32_bytes_end_with_the_valid_bit"))
        self.assertEqual(bench.trial(HEADER, text.replace("BIT(31)", "BIT("), SUITE), (UNBUILT, ""))
        self.assertEqual(bench.trial(HEADER, text, SUITE), (SURVIVED, ""))

    def test_what_fails_unchanged_proves_nothing(self):
        self.assertRaises(Failure, limit_for, self.room / "limit", HEADER, "no_such_kunit")
        self.assertRaises(Failure, limit_for, self.room / "limit", "no_such.h", SUITE)


if __name__ == "__main__":
    unittest.main()
