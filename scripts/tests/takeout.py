#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/takeout: python3 scripts/tests/takeout.py"""
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from hmm.takeout import without_function  # noqa: E402
from hmm.tree import Failure  # noqa: E402

FIXTURE = (HERE / "takeout" / "fixture.c").read_text()


def lines(first, last):
    """Lines FIRST to LAST of the fixture, counted from 1."""
    return "".join(FIXTURE.splitlines(keepends=True)[first - 1:last])


class TakeOut(unittest.TestCase):
    def check(self, name, *removed):
        wanted = FIXTURE
        for part in removed:
            self.assertEqual(wanted.count(part), 1)
            wanted = wanted.replace(part, "")
        self.assertEqual(without_function(FIXTURE, name, "fixture.c"), wanted)

    def test_comment_body_and_export_go(self):
        self.check("plain", lines(7, 18))

    def test_head_on_two_lines_and_annotation(self):
        self.check("split_head", lines(21, 35))

    def test_one_line(self):
        self.check("one_line", "static inline int one_line(void) { return 1; }\n")

    def test_declaration_and_calls_stay(self):
        self.check("callee", lines(57, 61))

    def test_macro_above_stays(self):
        self.check("below_a_macro", lines(41, 44))

    def test_unknown_name(self):
        with self.assertRaisesRegex(Failure, "fixture.c: no function 'table'"):
            without_function(FIXTURE, "table", "fixture.c")

    def test_ambiguous_name(self):
        with self.assertRaisesRegex(Failure, "'twice' is ambiguous: defined in lines 47, 52"):
            without_function(FIXTURE, "twice", "fixture.c")


if __name__ == "__main__":
    unittest.main()
