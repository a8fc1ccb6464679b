#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of how gcov's counters are read and judged, with a program of two objects: python3 scripts/tests/coverage.py"""
import base64
import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from hmm.test import coverage  # noqa: E402
from hmm.test.tap import FAILED  # noqa: E402
from hmm.tree import Failure  # noqa: E402

HEADER = """\
static inline int sign(int a)
{
	if (a < 0)
		return -1;
	return 1;
}
"""
ONE = """\
#include "both.h"
int other(int a);
static int never(int a)
{
	return a * 3;
}
int main(int argc, char **argv)
{
	if (argc > 1)
		return never(argc);
	return sign(argc) + other(-argc);
}
"""
OTHER = """\
#include "both.h"
int other(int a)
{
	return sign(a);
}
"""


def line(number, *counts, runs=1):
    """A line as gcov describes it."""
    return {"line_number": number, "count": runs, "branches": [{"count": count} for count in counts]}


class Merged(unittest.TestCase):
    def test_line_of_two_objects(self):
        self.assertEqual(coverage.merged([line(1, 0, 1, runs=1), line(1, 1, 0, runs=0)]), {1: (1, [True, True])})

    def test_line_that_never_runs(self):
        self.assertEqual(coverage.merged([line(1, runs=0), line(2)]), {1: (0, []), 2: (1, [])})

    def test_copy_with_the_most_branches(self):
        found = coverage.merged([line(1, 5, 5), line(1, 0, 0, 0, 1), line(1)])
        self.assertEqual(found, {1: (3, [False, False, False, True])})

    def test_gaps(self):
        found = coverage.merged([line(1, 1, 0), line(2, runs=0), line(3, 1, 1), line(4)])
        self.assertEqual(coverage.gaps({"a.c": found}), "a.c:1: 1 of 2 branches\na.c:2: did not run\n")


class Judged(unittest.TestCase):
    def outcomes(self, *files):
        """Each file as lines, lines that ran, branches, and branches that ran."""
        found = {}
        for nr, (lines, lines_run, branches, branches_run) in enumerate(files):
            rows = {number: coverage.Line(number < lines_run, []) for number in range(lines)}
            if branches:
                rows[0] = coverage.Line(rows[0].runs, [number < branches_run for number in range(branches)])
            found[f"{nr}.c"] = rows
        return [(case.name, case.reason) for case in coverage.judged(found).cases if case.outcome == FAILED]

    def test_floors(self):
        self.assertEqual(self.outcomes((10, 9, 10, 8)), [])
        self.assertEqual(self.outcomes((1000, 899, 10, 8)), [("lines", "89.9 % of them, and 90 are the floor")])
        self.assertEqual(self.outcomes((10, 9, 10, 7)), [("branches", "70.0 % of them, and 80 are the floor")])

    def test_files_together(self):
        self.assertEqual(self.outcomes((10, 8, 10, 7), (10, 10, 10, 9)), [])

    def test_no_branches(self):
        self.assertEqual(self.outcomes((10, 9, 0, 0)), [])

    def test_file_without_counters(self):
        self.assertEqual(self.outcomes((10, 10, 0, 0), (0, 0, 0, 0)), [("1.c", "no object of it has counters")])

    def test_nothing_measured(self):
        self.assertEqual(coverage.judged({}).count(FAILED), 1)

    def test_files_for_tests_have_no_floor(self):
        with mock.patch.object(coverage, "our_paths", return_value=[
                f"{coverage.NOUVEAU}/nouveau_{name}" for name in (
                    "dmem.c", "svm.c", "svm_decide.h", "svm_decide_kunit.c", "svm_fake.h", "svm_stock.h", "bo.c", "svm_kunit.c")]):
            self.assertEqual([pathlib.Path(path).name for path in coverage.measured_paths()],
                             ["nouveau_dmem.c", "nouveau_svm.c", "nouveau_svm_decide.h"])


class Program(unittest.TestCase):
    """A program stands for the kernel, its counters for what a boot printed."""

    def setUp(self):
        top = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())).resolve()
        self.src, self.out, self.log = top / "src", top / "out", top / "log"
        for folder in (self.src, self.out):
            folder.mkdir()
        for name, text in (("one.c", ONE), ("other.c", OTHER), ("both.h", HEADER)):
            (self.src / name).write_text(text)
        for name in ("one", "other"):
            self.run_("gcc", "-O0", "--coverage", "-c", f"../src/{name}.c", "-o", f"{name}.o")
        self.run_("gcc", "--coverage", "one.o", "other.o", "-o", "program")
        subprocess.run([self.out / "program"], cwd=self.out, check=False)
        self.enterContext(mock.patch.object(coverage, "OURS_SRC", self.src))
        self.enterContext(mock.patch.object(coverage, "measured_paths",
                                            return_value=["both.h", "none.c", "one.c", "other.c"]))
        self.print_counters()

    def run_(self, *command):
        subprocess.run(command, cwd=self.out, check=True)

    def print_counters(self):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for path in self.out.glob("*.gcda"):
                archive.add(path, f".{path}")
        text = base64.encodebytes(packed.getvalue()).decode()
        self.log.write_text("".join(f"# gcov: {row}\n" for row in text.splitlines()) + "ok 1 gcov.counters_are_read\n")

    def test_files_and_headers(self):
        found = {path: coverage.Covered.of(lines.values())
                 for path, lines in coverage.measured(self.log, self.out).items()}
        self.assertEqual(found["one.c"][:2], (6, 3))
        self.assertEqual(found["one.c"].branches, 2)
        self.assertEqual(found["one.c"].branches_run, 1)
        self.assertEqual(found["other.c"][:2], (2, 2))
        self.assertEqual(found["both.h"][2:], (2, 2))
        self.assertEqual(found["both.h"].lines, found["both.h"].lines_run)
        self.assertEqual(found["none.c"], (0, 0, 0, 0))

    def test_table(self):
        rows = coverage.table(coverage.measured(self.log, self.out)).splitlines()
        self.assertRegex(rows[2], r"^none.c +0 +- +0 +-$")
        self.assertRegex(rows[3], r"^one.c +6 +50.0 +2 +50.0$")
        self.assertRegex(rows[-1], r"^all +\d+ +\d\d.\d +4 +75.0$")

    def test_no_counters(self):
        self.log.write_text("ok 1 nouveau.loads\n")
        with self.assertRaisesRegex(Failure, "holds no counters of gcov"):
            coverage.measured(self.log, self.out)

    def test_counters_of_another_kernel(self):
        elsewhere = self.out.with_name("elsewhere")
        with self.assertRaisesRegex(Failure, "is not of the kernel in"):
            coverage.measured(self.log, elsewhere)


if __name__ == "__main__":
    unittest.main()
