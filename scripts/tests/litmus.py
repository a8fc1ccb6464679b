#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/litmus: that it judges rightly, and that nothing but the stated result passes.

They need herd7 and the base kernel, which make litmus fetches: python3 scripts/tests/litmus.py
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
SCRIPTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SCRIPTS))

from hmm import herd  # noqa: E402
from hmm.tree import BASE_SRC  # noqa: E402

HERE = herd.present() and (BASE_SRC / "tools/memory-model").is_dir()


def test_of(result, condition, *threads):
    bodies = "\n".join(f"P{i}(int *x, int *y, int *z, spinlock_t *l)\n{{\n\tint r0;\n\tint r1;\n{body}\n}}"
                       for i, body in enumerate(threads))
    return f"C test\n\n(*\n * Result: {result}\n *)\n\n{{}}\n\n{bodies}\n\nexists ({condition})\n"


@unittest.skipUnless(HERE, "no herd7 or no kernel source: make litmus fetches them")
class Judging(unittest.TestCase):
    def judged(self, text):
        """The exit status, and what is said of the test."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "test.litmus")
            path.write_text(text)
            done = subprocess.run([sys.executable, SCRIPTS / "litmus", path], text=True, capture_output=True)
        verdict, line = done.stdout.splitlines()
        self.assertIn(f"litmus: {done.returncode or 'no'} of 1 wrong", verdict)
        return done.returncode, line.removeprefix("  test: ")

    def check_(self, result, condition, *threads):
        """RESULT passes, and no other one does."""
        for said in ("Never", "Sometimes", "Always"):
            wanted = (0, result) if said == result else (1, f"{result}, but it says {said}")
            self.assertEqual(self.judged(test_of(said, condition, *threads)), wanted)

    def refused(self, pattern, text):
        status, line = self.judged(text)
        self.assertEqual(status, 1)
        self.assertRegex(line, pattern)

    def test_control_dependency_ends_with_the_arm(self):
        back = "r0 = READ_ONCE(*y); if (r0 == 1) WRITE_ONCE(*x, 1);"
        for forth, result in (("if (r0 == 1) WRITE_ONCE(*y, 1);", "Never"),
                              ("if (r0 == 1) WRITE_ONCE(*z, 1); WRITE_ONCE(*y, 1);", "Sometimes"),
                              ("if (r0 == 1) WRITE_ONCE(*z, 1); smp_wmb(); WRITE_ONCE(*y, 1);", "Never"),
                              ("if (r0 == 1) WRITE_ONCE(*y, 2); WRITE_ONCE(*y, 1);", "Never")):
            self.check_(result, "0:r0=1 /\\ 1:r0=1", f"r0 = READ_ONCE(*x); {forth}", back)

    def test_control_dependency_does_not_order_reads(self):
        for read, result in (("r1 = READ_ONCE(*x);", "Sometimes"), ("smp_rmb(); r1 = READ_ONCE(*x);", "Never")):
            self.check_(result, "1:r0=1 /\\ 1:r1=0", "WRITE_ONCE(*x, 1); smp_store_release(y, 1);",
                        f"r1 = 1; r0 = READ_ONCE(*y); if (r0 == 1) {{ {read} }}")

    def test_store_buffering_needs_two_full_barriers(self):
        for barrier, result in (("smp_mb();", "Never"), ("smp_wmb();", "Sometimes"), ("", "Sometimes")):
            self.check_(result, "0:r0=0 /\\ 1:r0=0", "WRITE_ONCE(*x, 1); smp_mb(); r0 = READ_ONCE(*y);",
                        f"WRITE_ONCE(*y, 1); {barrier} r0 = READ_ONCE(*x);")

    def test_locks_exclude(self):
        add = "spin_lock(l); r0 = READ_ONCE(*x); WRITE_ONCE(*x, r0 + 1); spin_unlock(l);"
        self.check_("Always", "x=2", add, add)

    def test_data_race_is_wrong(self):
        self.refused("Sometimes, with data-race", test_of("Sometimes", "1:r0=1", "*x = 1;", "r0 = READ_ONCE(*x);"))

    def test_what_does_not_parse_is_wrong(self):
        text = test_of("Never", "x=1", "r0 = READ_ONCE(*x);")
        self.refused("herd7 failed: .*unexpected 'lock'", text.replace("*l)", "*lock)"))

    def test_without_a_stated_result_it_is_wrong(self):
        text = test_of("Never", "x=1", "r0 = READ_ONCE(*x);")
        self.refused("nothing of its result", text.replace("Result", "Outcome"))


if __name__ == "__main__":
    unittest.main()
