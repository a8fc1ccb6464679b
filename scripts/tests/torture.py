#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of how scripts/torture judges, and of its mutants: python3 scripts/tests/torture.py"""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))

from hmm.torture.outcome import Outcome  # noqa: E402

PROGRESS = "hmm-torture: 15 s reads 7 retries 1"
SUCCESS = "hmm-torture: SUCCESS: 9 checks of mirrors, 9 callbacks"
FAILURE = "hmm-torture: FAILURE: stalled: reads"


class Judging(unittest.TestCase):
    def test_success(self):
        outcome = Outcome([PROGRESS, SUCCESS], 0)
        self.assertTrue(outcome.success)
        self.assertIsNone(outcome.caught())

    def test_failure(self):
        outcome = Outcome([PROGRESS, FAILURE], 1)
        self.assertFalse(outcome.success)
        self.assertEqual(outcome.caught(), "stalled: reads")
        self.assertEqual(outcome.trouble(), "stalled: reads")

    def test_kernel_report(self):
        for status in (121, 123):
            outcome = Outcome([PROGRESS, SUCCESS], status)
            self.assertFalse(outcome.success)
            self.assertEqual(outcome.caught(), "the kernel's own report")

    def test_hang(self):
        outcome = Outcome([PROGRESS], 124)
        self.assertFalse(outcome.success)
        self.assertEqual(outcome.caught(), "nothing goes on any more")

    def test_panic_with_a_reason(self):
        outcome = Outcome(["  | [  1.0] Kernel panic - not syncing: hmm_torture: a page is lost"], 121)
        self.assertEqual(outcome.caught(), "a page is lost")

    def test_no_verdict(self):
        for status in (0, 1, 122, 125):
            outcome = Outcome([PROGRESS], status)
            self.assertFalse(outcome.success)
            self.assertIsNone(outcome.caught())
            self.assertIn(str(status), outcome.trouble())


class Mutants(unittest.TestCase):
    def test_all_apply(self):
        mutants = sorted((TOP / "tools/testing/selftests/mm/hmm/hmm_torture/mutants").glob("*.patch"))
        self.assertTrue(mutants)
        for mutant in mutants:
            with self.subTest(mutant.stem), tempfile.TemporaryDirectory() as room:
                shutil.copytree(TOP / "mm", pathlib.Path(room, "mm"))
                done = subprocess.run(["patch", "-s", "-p1", "--fuzz=0", "--batch", "--forward", "-d", room,
                                       "-i", str(mutant)], capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
