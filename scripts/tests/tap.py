#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of how scripts/test reads results: python3 scripts/tests/tap.py"""
import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from hmm.test import expect, users  # noqa: E402
from hmm.test.boot import VM_ENDED, Boot  # noqa: E402
from hmm.test.report import Progress  # noqa: E402
from hmm.test.tap import FAILED, PASSED, SKIPPED, Case, Suite  # noqa: E402
from hmm.tree import Failure  # noqa: E402
from hmm.vm import console  # noqa: E402

KTAP = """\
KTAP version 1
1..1
    KTAP version 1
    # Subtest: suite
    1..3
    ok 1 plain
        KTAP version 1
        # Subtest: parameters
        ok 1 small
        not ok 2 large
    not ok 2 parameters
    ok 3 absent # SKIP no device
not ok 1 suite
"""

KSELFTEST = """\
1..1
# # running bash ./test_hmm.sh smoke
# # TAP version 13
# # 1..2
# # #  RUN           f.a ...
# # #            OK  f.a
# # ok 1 f.a
# # ok 2 f.b # SKIP no device
# ok 1 test_hmm.sh smoke
# # running ./hmm-skips
# # 1..0 # SKIP no device
# ok 2 hmm-skips # SKIP
# # running ./hmm-crashes
# # 1..3
# # ok 1 g.a
# not ok 3 hmm-crashes # exit=139
# # running ./hmm-says-nothing
# not ok 4 hmm-says-nothing # exit=1
# 1..4
not ok 1 selftests: mm: ksft_hmm.sh # exit=1
"""


def parsed(text, status=0):
    """The suite after its program printed this."""
    suite = Suite("name")
    for line in text.splitlines():
        suite.feed(line)
    suite.finished(status)
    return suite


def outcomes(suite):
    """(name, outcome) of each case."""
    return [(case.name, case.outcome) for case in suite.cases]


class Tap(unittest.TestCase):
    """Flat results, as the kselftest harness prints them."""

    def test_results(self):
        suite = parsed("1..3\nok 1 f.v.a\nnot ok 2 f.v.b\nok 3 f.v.c # SKIP no device\n", 1)
        self.assertEqual(outcomes(suite), [("f.v.a", PASSED), ("f.v.b", FAILED), ("f.v.c", SKIPPED)])
        self.assertEqual(suite.cases[2].reason, "no device")

    def test_missing_results_fail(self):
        suite = parsed("1..3\nok 1 a\n#  RUN           f.b ...\n")
        self.assertEqual([case.outcome for case in suite.cases], [PASSED, FAILED, FAILED])
        self.assertEqual(suite.cases[1].name, "f.b")

    def test_program_that_skips_itself(self):
        self.assertEqual(outcomes(parsed("1..0 # SKIP no device\n", 4)), [("name", SKIPPED)])
        self.assertEqual(parsed("1..0 # SKIP no device\n", 1).count(FAILED), 1)
        self.assertEqual(parsed("ok 1 a\n", 4).count(FAILED), 1)

    def test_bad_status_fails(self):
        self.assertEqual(parsed("1..1\nok 1 a\n", 1).count(FAILED), 1)

    def test_silence_fails(self):
        self.assertEqual(parsed("nothing to see\n").count(FAILED), 1)

    def test_whole_suite_skipped(self):
        self.assertEqual(outcomes(parsed("1..0 # SKIP no device\n")), [("name", SKIPPED)])

    def test_several_programs(self):
        self.assertEqual(parsed("1..1\nok 1 a\nTAP version 13\n1..1\nok 1 b\n").count(PASSED), 2)

    def test_kselftest_runner(self):
        suite = parsed(KSELFTEST, 1)
        self.assertEqual(outcomes(suite), [("f.a", PASSED), ("f.b", SKIPPED), ("hmm-skips", SKIPPED), ("g.a", PASSED),
                                           ("hmm-crashes", FAILED), ("hmm-says-nothing", FAILED)])
        self.assertEqual(suite.cases[4].reason, "2 of its planned tests did not run")
        self.assertEqual(suite.cases[5].reason, "exit=1")

    def test_machine_gone(self):
        suite = Suite("name")
        for line in ("1..3", "ok 1 a", "#  RUN           f.b ..."):
            suite.feed(line)
        suite.broken_off("panic")
        self.assertEqual([case.outcome for case in suite.cases], [PASSED, FAILED, FAILED])


class Ktap(unittest.TestCase):
    """Nested results, as KUnit prints them."""

    def test_only_leaves_count(self):
        self.assertEqual(outcomes(parsed(KTAP)), [
            ("suite.plain", PASSED), ("suite.parameters.small", PASSED),
            ("suite.parameters.large", FAILED), ("suite.absent", SKIPPED)])

    def test_parent_that_fails_by_itself(self):
        text = "1..1\n    # Subtest: suite\n    ok 1 a\nnot ok 1 suite\n"
        self.assertEqual(outcomes(parsed(text)), [("suite.a", PASSED), ("suite", FAILED)])


def suite_of(**outcomes):
    """A suite with cases of these outcomes."""
    suite = Suite("stock:program")
    suite.cases = [Case(name, outcome, "") for name, outcome in outcomes.items()]
    return suite


class SameOnBase(unittest.TestCase):
    """Failures of the stock tree's tests."""

    def setUp(self):
        self.same = expect.SameOnBase()

    def judged(self, judge, suite):
        """The outcomes that are left."""
        judge(suite)
        return [case.outcome for case in suite.cases]

    def test_failures_are_doubted(self):
        self.assertEqual(self.judged(self.same.doubt, suite_of(good=PASSED)), [PASSED])
        self.assertEqual(self.same.doubtful, [])
        self.assertEqual(self.judged(self.same.doubt, suite_of(bad=FAILED, good=PASSED)), [SKIPPED, PASSED])
        self.assertEqual(self.same.doubtful, ["stock:program"])

    def test_reports_on_the_console_are_not(self):
        for name in ("stock:program: console", "boot of mm-ours-1: console"):
            suite = suite_of(report=FAILED)
            suite.name = name
            self.assertEqual(self.judged(self.same.doubt, suite), [FAILED])
        self.assertEqual(self.same.doubtful, [])

    def test_old_ones_are_forgiven_and_new_ones_count(self):
        self.same.learn(suite_of(old=FAILED, good=PASSED))
        self.assertEqual(self.judged(self.same.judge, suite_of(old=FAILED, good=FAILED)), [SKIPPED, FAILED])

    def test_what_fails_by_chance(self):
        suite = suite_of(collapse_max_ptes_swap=FAILED, collapse_full=FAILED)
        suite.name = "stock:khugepaged"
        self.assertEqual(self.judged(self.same.judge, suite), [SKIPPED, FAILED])


class SideBySide(unittest.TestCase):
    """Both kernels, and the table of both."""

    def setUp(self):
        self.both = expect.SideBySide()
        self.both.learn(suite_of(good=PASSED, bad=FAILED, absent=SKIPPED))

    def judged(self, **outcomes):
        """The outcomes on ours that are left."""
        suite = suite_of(**outcomes)
        self.both.judge(suite)
        return {case.name: case.outcome for case in suite.cases}

    def test_the_same(self):
        self.assertEqual(self.judged(good=PASSED, bad=FAILED, absent=SKIPPED),
                         {"good": PASSED, "bad": SKIPPED, "absent": SKIPPED})
        self.assertEqual(self.both.verdict(), "ours passes all 1 tests that 7.3 passes")

    def test_our_own_must_pass_even_so(self):
        both = expect.SideBySide()
        for judge in (both.learn, both.judge):
            suite = suite_of(bad=FAILED)
            suite.name = "rdma:changes"
            judge(suite)
        self.assertEqual(both.lost, ["bad"])

    def test_what_passes_on_the_stock_kernel_must_pass(self):
        for outcome in (FAILED, SKIPPED):
            self.assertEqual(self.judged(good=outcome, bad=PASSED), {"good": FAILED, "bad": PASSED})
        self.assertEqual(self.judged(bad=PASSED), {"good": FAILED, "bad": PASSED})
        self.assertEqual(self.both.verdict(), "ours fails where it must not: good good good")

    def test_a_report_on_the_console_counts(self):
        suite = suite_of(report=FAILED)
        suite.name = "stock:program: console"
        self.both.judge(suite)
        self.assertEqual(self.both.lost, ["report"])

    def test_table(self):
        self.judged(good=PASSED, bad=PASSED, absent=PASSED)
        lines = self.both.table("heading").splitlines()
        self.assertEqual(lines[0], self.both.verdict())
        self.assertEqual(lines[-1].split(), ["stock:program", *"1 1 1 0.0 3 0 0 0.0".split()])


class Users(unittest.TestCase):
    """Which suites make users runs."""

    def test_names(self):
        for suite in users.SHORT:
            self.assertIn(suite, users.every_suite())
        self.assertEqual(users.chosen({}), users.every_suite())
        self.assertEqual(users.chosen({"HMM_QUICK": "1"}), list(users.SHORT))
        self.assertEqual(users.chosen({"HMM_QUICK": "1", "TESTS": "rdma:changes"}), ["rdma:changes"])
        with self.assertRaisesRegex(Failure, "there is no kvm:bad; .*base/kvm-selftests"):
            users.chosen({"TESTS": "kvm:bad"})


class Ending(unittest.TestCase):
    """A VM that ends before its command does."""

    def results(self, kargs, ended):
        """What a boot of one suite, which has ENDED, adds to its results."""
        boot = Boot("name", ["selftest:program"], [], 1, kargs=kargs)
        boot.suites = [Suite("selftest:program")] if ended else []
        with contextlib.redirect_stdout(io.StringIO()):
            boot._judge(VM_ENDED, Progress(), [])  # pylint: disable=protected-access
        return [suite.count(FAILED) for suite in boot.suites]

    def test_after_the_last_result(self):
        self.assertEqual(self.results("", True), [0, 1])
        self.assertEqual(self.results("quiet oops=panic", True), [0])

    def test_before_it(self):
        self.assertIn(1, self.results("oops=panic", False))


class Expected(unittest.TestCase):
    """Lists of tests that must fail."""

    def listed(self, text):
        """A list with this text."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "list")
            path.write_text(text)
            return expect.Expected(path, "there", "so nothing")

    def test_programs_that_are_not_run_or_come_last(self):
        ours = self.listed("without fork\nlast migrate\n")
        self.assertEqual(ours.in_order(["selftest:migrate", "selftest:fork", "selftest:evict"]),
                         ["selftest:evict", "selftest:migrate"])

    def test_the_expected_result_is_a_pass(self):
        ours = self.listed("fork bad\nfork good\n")
        suite = suite_of(bad=FAILED, good=PASSED, other=FAILED)
        suite.name = "selftest:fork"
        ours.judge(suite)
        self.assertEqual([case.outcome for case in suite.cases], [PASSED, FAILED, FAILED])

    def test_a_line_about_no_program(self):
        with self.assertRaisesRegex(Failure, "witout is neither"):
            self.listed("witout fork\n")


class Console(unittest.TestCase):
    """Which lines of the console are complaints."""

    def test_complaints(self):
        for line in ("WARNING: mm/x.c:1 at f+0x1/0x2", "BUG: KASAN: slab-use-after-free in f",
                     "BUG: KCSAN: data-race in f [m] / g",
                     "Oops: Oops: 0002 [#1] SMP", "WARNING: possible circular locking dependency detected",
                     "INFO: task x:1 blocked for more than 120 seconds.", "refcount_t: underflow; use-after-free.",
                     "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "BUG: Bad page state in process x",
                     "DMAR: [DMA Read NO_PASID] Request device [00:03.0] fault addr 0x1000 [fault reason 0x06]",
                     "AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:00:03.0 domain=0x0001 address=0x1000]",
                     "virtio_iommu virtio0: page fault from EP 24 at 0x1000 [ ]",
                     "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)"):
            self.assertEqual(console.complaints([f"[    1.0] {line}"]), [0], line)

    def test_the_oom_killer_where_it_is_asked_for(self):
        for name, expected in (("migrate-zap", []), ("memcg", []), ("python3", [0])):
            self.assertEqual(console.complaints([f"[    1.0] {name} invoked oom-killer: gfp_mask=0xcc0"]), expected)

    def test_harmless(self):
        for line in ("Kernel command line: panic=-1 BUG: ", "x[1]: segfault at 0 ip 0", "Run /init as init process"):
            self.assertEqual(console.complaints([f"[    1.0] {line}"]), [], line)

    def test_expected(self):
        lines = ["------------[ cut here ]------------", "odd", "WARNING: mm/x.c:1 at f"]
        self.assertEqual(console.complaints(lines, r"WARNING: mm/x\.c"), [])
        self.assertEqual(console.complaints(lines, r"WARNING: mm/y\.c"), [0, 2])

    def test_blocked_tasks(self):
        booted = ["[    1.8] clocksource: Switched to clocksource tsc"]
        report = ["[   20.1] task:dstate          state:D stack:14296 pid:101   tgid:101   ppid:1",
                  "[   20.1] Call Trace:", "[   20.1]  schedule+0x2f/0xd0"]
        self.assertEqual(console.split_blocked_tasks(booted), (booted, None))
        self.assertEqual(console.split_blocked_tasks([*booted, "[   20.0] sysrq: Show Blocked State", *report]),
                         (booted, report))
        self.assertEqual(console.task_names(report), ["dstate (101)"])


if __name__ == "__main__":
    unittest.main()
