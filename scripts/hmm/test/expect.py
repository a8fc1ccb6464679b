# SPDX-License-Identifier: GPL-2.0
"""Failures that are expected of the stock kernel and the stock driver: known ones, and those that tests must show."""
import fnmatch
import os
import re

from hmm.test.tap import FAILED, KNOWN, PASSED, SKIPPED, Case
from hmm.tree import Failure
from hmm.vm.settings import REPOSITORY

# Tests that fail now and then on the stock kernel, too: this one in 3 of 27 runs
BY_CHANCE = {("stock:khugepaged", "collapse_max_ptes_swap")}
CONSOLE_OF = re.compile(r": console$")  # the name under which a boot's kernel reports appear

LISTS = os.path.join(REPOSITORY, "tools/testing/selftests/mm/hmm")
# Suites of ours among those that are compared: they must pass on our kernel even where they fail on the stock one
OWN = ("leaks", "rdma:changes", "vm")


def read_words(path):
    """The words of each line, without comments."""
    with open(path, encoding="utf-8") as opened:
        lines = (line.split("#", 1)[0].split() for line in opened)
        return [words for words in lines if words]


def read_list(name):
    """The same for a list of expected results."""
    return read_words(os.path.join(LISTS, name))


class KnownFailures:
    """hmm-tests.base-failures: a test's name, and "crashes" where the kernel does not survive it well."""

    def __init__(self):
        rows = read_list("hmm-tests.base-failures")
        self.names = {row[0] for row in rows}
        self._crashing = [row[0] for row in rows if row[1:] == ["crashes"]]

    def crashing(self):
        """Full names of the tests to run alone."""
        return self._crashing

    def crashing_test_names(self):
        """The last part of their names, by which the harness leaves tests out of a variant."""
        return sorted({name.rpartition(".")[2] for name in self._crashing})

    def forgive(self, suite):
        """Failures that the stock kernel has too are not ours: count them as skipped, visibly."""
        for case in suite.cases:
            if case.name in self.names and case.outcome == FAILED:
                case.outcome, case.reason = SKIPPED, KNOWN
            elif case.name in self.names and case.outcome == PASSED:
                case.reason = f"passes here, although a {KNOWN}"

    def forgive_crash(self, suite):
        """The same for a test that crashes, and its suite with it: it counts as one skipped test."""
        if suite.count(PASSED) == len(suite.cases):
            self.forgive(suite)
            return
        _, _, name = suite.name.partition("hmm-case:")
        suite.cases = [Case(name, SKIPPED, f"{KNOWN}: the stock dummy driver crashes")] if name else []


class SameOnBase:
    """Failures of tests that are not about HMM: ours may have those that the stock kernel has, and those that do not
    come twice. Programs with failures are named in `doubtful`, for the stock kernel and for a second run.
    """

    def __init__(self):
        self._failed = set(BY_CHANCE)
        self.doubtful = []

    def doubt(self, suite):
        """Do not judge failures of the first run yet, except for suites of ours and reports on the console."""
        if not suite.count(FAILED) or suite.name in OWN or CONSOLE_OF.search(suite.name):
            return
        self.doubtful.append(suite.name)
        for case in suite.cases:
            if case.outcome == FAILED:
                case.outcome, case.reason = SKIPPED, "failed: runs on the stock kernel now, and again on ours"

    def learn(self, suite):
        """Remember what fails on the stock kernel, or ends early there: it does not count on ours."""
        for case in suite.cases:
            if case.outcome == FAILED:
                self._failed.add((suite.name, case.name))
                case.outcome, case.reason = SKIPPED, KNOWN

    def judge(self, suite):
        """Judge the second run: only new failures count."""
        for case in suite.cases:
            if case.outcome == FAILED and (suite.name, case.name) in self._failed:
                case.outcome, case.reason = SKIPPED, KNOWN


class SideBySide:
    """The same suites on the stock kernel and then on ours: what passes there must pass on ours, and all of OWN."""
    HEADINGS = ("", "7.3: passed", "failed", "skipped", "seconds", "ours: passed", "failed", "skipped", "seconds")
    FORMAT = "{:<42}{:>12}{:>8}{:>9}{:>9}{:>14}{:>8}{:>9}{:>9}"

    def __init__(self):
        self._passed, self._failed = {}, set()
        self._rows = {}
        self._figures = {}
        self.lost = []

    def learn(self, suite):
        """Remember a suite's results on the stock kernel."""
        self._row(suite, 0)
        self._passed[suite.name] = [case.name for case in suite.cases if case.outcome == PASSED]
        self._failed |= {(suite.name, case.name) for case in suite.cases if case.outcome == FAILED}

    def judge(self, suite):
        """Judge the same suite on ours: a failure counts unless it came before, and so does what is missing."""
        self._row(suite, 1)
        passed = self._passed.get(suite.name, [])
        for case in suite.cases:
            if case.name in passed and case.outcome == SKIPPED:
                case.outcome, case.reason = FAILED, f"skipped, but passes on the stock kernel: {case.reason}"
            elif case.outcome == FAILED and (suite.name, case.name) in self._failed and suite.name not in OWN:
                case.outcome, case.reason = SKIPPED, KNOWN
        for name in set(passed) - {case.name for case in suite.cases}:
            suite.fail(name, "did not run, but passes on the stock kernel")
        self.lost += [case.name for case in suite.cases if case.outcome == FAILED]

    def _row(self, suite, column):
        counts = [suite.count(outcome) for outcome in (PASSED, FAILED, SKIPPED)]
        self._rows.setdefault(suite.name, [None, None])[column] = [*counts, f"{suite.seconds:.1f}"]
        if suite.figures:
            self._figures.setdefault(suite.name, [[], []])[column] = suite.figures

    def verdict(self):
        """One line."""
        if self.lost:
            return f"ours fails where it must not: {' '.join(self.lost)}"
        return f"ours passes all {sum(map(len, self._passed.values()))} tests that 7.3 passes"

    def table(self, heading):
        """The verdict, and the results of both kernels for each suite."""
        lines = [self.FORMAT.format(*self.HEADINGS)]
        for name, columns in self._rows.items():
            lines.append(self.FORMAT.format(name, *(figure for column in columns for figure in column or "----")))
        for name, columns in self._figures.items():
            lines += ["", *(f"{name}, {kernel}: {figure}" for kernel, figures in zip(("7.3", "ours"), columns)
                            for figure in figures)]
        return "\n".join([self.verdict(), "", heading, "", *lines]) + "\n"


class Expected:
    """A list of what must fail: program and test, "console" and a regular expression for what the kernel may say,
    "last" and a program that leaves the kernel in no state for others, "chance", program and a pattern of tests that
    fail now and then, "crash", program and a test that the kernel does not survive, which runs alone, "hangs", program
    and the last part of a test's name, of tests that are not run because others wait for what they leave locked,
    "without" and a program that is not run.
    """
    WORDS = ("console", "last", "chance", "crash", "hangs", "without")

    def __init__(self, name, where, otherwise):
        """A row's test fails WHERE; OTHERWISE says what follows if it passes."""
        rows = read_list(name)
        self.where, self.otherwise = where, otherwise
        self._console = [" ".join(row[1:]) for row in rows if row[0] == "console"]
        self._last = {row[1] for row in rows if row[0] == "last"}
        self._without = {row[1] for row in rows if row[0] == "without"}
        self._chance = [(row[1], row[2]) for row in rows if row[0] == "chance"]
        self._crashing = [(row[1], row[2]) for row in rows if row[0] == "crash"]
        self._hanging = {row[2] for row in rows if row[0] == "hangs"}
        self._tests = {(row[0], row[1]) for row in rows if row[0] not in self.WORDS}
        for program in {program for program, _ in self._tests}:
            if not os.path.isfile(os.path.join(LISTS, f"{program}.c")):
                raise Failure(f"{name}: {program} is neither a program nor one of {', '.join(self.WORDS)}")
        self._rows = []

    def console(self):
        """A pattern of the reports that the kernel may print."""
        return "|".join(self._console)

    def in_order(self, names):
        """Suites that are to run, in the order in which they can."""
        programs = {name: name.rpartition(":")[2] for name in names}
        wanted = [name for name in names if programs[name] not in self._without]
        return sorted(wanted, key=lambda name: programs[name] in self._last)

    def crashing(self):
        """Suites of the tests to run alone."""
        return [f"selftest-case:{program}:{name}" for program, name in self._crashing]

    def left_out(self):
        """The last parts of the names of tests that the harness leaves out."""
        return sorted({name.rpartition(".")[2] for _, name in self._crashing} | self._hanging)

    def judge_crash(self, suite):
        """A test that runs alone has one result; how it failed does not matter."""
        name = suite.name.rpartition(":")[2]
        if not any(name == crashing for _, crashing in self._crashing):
            return
        harmless = suite.count(PASSED) + suite.count(SKIPPED) == len(suite.cases)
        self._rows.append((name, PASSED if harmless else "crashed", True))
        suite.cases = [Case(name, FAILED if harmless else PASSED,
                            f"harmless {self.where}, {self.otherwise}" if harmless else "")]

    def judge(self, suite):
        """Replace each result by whether it is the expected one, and remember the result for show()."""
        program = suite.name.rpartition(":")[2]
        for case in suite.cases:
            if case.outcome == FAILED and self._is_chance(program, case.name):
                case.outcome, case.reason = PASSED, ""
            must_fail = (program, case.name) in self._tests
            self._rows.append((case.name, case.outcome, must_fail))
            self._tests.discard((program, case.name))
            if must_fail and case.outcome == FAILED:
                case.outcome, case.reason = PASSED, ""
            elif must_fail:
                case.outcome, case.reason = FAILED, f"{case.outcome} {self.where}, {self.otherwise}"
        for _, name in sorted(row for row in self._tests if row[0] == program):
            suite.fail(name, f"is expected to fail {self.where}, but did not run")

    def _is_chance(self, program, name):
        return any(program == at and fnmatch.fnmatch(name, pattern) for at, pattern in self._chance)

    def show(self, progress):
        """Print a table of the tests that must fail, and of those with an unexpected result."""
        progress.note(f"\n  {self.where:<22}{'must':<8}test")
        for name, outcome, must_fail in self._rows:
            if must_fail or outcome == FAILED:
                progress.note(f"  {outcome:<22}{'fail' if must_fail else 'pass':<8}{name}")
        others = sum(not must_fail and outcome != FAILED for _, outcome, must_fail in self._rows)
        progress.note(f"  and {others} tests that must pass there passed or were skipped")


def on_base():
    """The defects of the stock kernel."""
    return Expected("expected-base", "on the stock kernel", "so it proves nothing")


def with_stock_driver():
    """The defects of the stock dummy driver, on any kernel."""
    return Expected("expected-driver", "with the stock driver", "so its row is out of date")
