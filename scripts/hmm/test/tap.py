# SPDX-License-Identifier: GPL-2.0
"""Read test results: TAP and its nested form, KTAP.

Not by tools/testing/kunit/kunit_parser.py: that drops the reason of "1..0 # SKIP why", does not see results which
kselftest's runner indents by "# ", cannot name the test that was running when the VM died, and needs the whole log.
"""
import dataclasses
import re

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
SKIP_STATUS = 4  # of a kselftest program that could run nothing
KNOWN = "known base failure"  # begins the reason of a failure that the stock kernel has too

RESULT = re.compile(r"^( *)(not ok|ok)\s+(\d+)\s*(?:-\s*)?(.*?)\s*(?:#\s*(?i:(skip)\b)?\s*(.*))?$")
PLAN = re.compile(r"^( *)1\.\.(\d+)(?:\s*# SKIP\s*(.*))?")
SUBTEST = re.compile(r"^( *)# Subtest: (.*)$")
RUNNING = re.compile(r"^#(?: # running(?: bash)?| +RUN) +(\S+)")
RUNNER = re.compile(r"^(?:# )+(?=(?:not )?ok \d|1\.\.\d)")  # kselftest's runner nests by this, not by spaces
FIGURE = re.compile(r"^#.*\bfigure: (.*)$")


@dataclasses.dataclass
class Case:
    """One test's result."""
    name: str
    outcome: str
    reason: str = ""


class Suite:
    """The results of one suite, collected line by line."""

    def __init__(self, name):
        self.name = name
        self.cases = []
        self.figures = []
        self.planned = 0
        self.skip_all = None
        self.running = None
        self.seconds = 0.0
        self._parents = {}
        self._children = {}
        self._plans = {}

    def feed(self, line):
        """Take one line of output."""
        line = RUNNER.sub(lambda match: " " * len(match[0]), line.rstrip())
        running = RUNNING.match(line)
        result = RESULT.match(line)
        plan = PLAN.match(line)
        subtest = SUBTEST.match(line)
        figure = FIGURE.match(line)
        if running:
            self.running = running[1]
        elif figure:
            self.figures.append(figure[1])
        elif plan and plan[1]:
            self._plans[len(plan[1])] = int(plan[2])
        elif plan:
            self._plan(plan)
        elif subtest:
            self._parents[len(subtest[1])] = subtest[2]
        elif result:
            self._result(result)

    def _plan(self, plan):
        self.planned += int(plan[2])
        if plan[2] == "0":
            self.skip_all = plan[3] or "no tests"

    def _result(self, match):
        indent = len(match[1])
        failed = match[2] == "not ok"
        outcome = SKIPPED if match[5] else FAILED if failed else PASSED
        nested = self._nested(indent, match[4])
        if nested and not (outcome == FAILED and FAILED not in nested):
            self._note(indent, outcome)
            return  # only repeats what the nested results said
        parents = [self._parents[depth] for depth in sorted(self._parents) if 0 < depth <= indent]
        self.cases.append(Case(".".join([*parents, match[4] or match[3]]), outcome, match[6] or ""))
        self._note(indent, outcome)
        self.running = None

    def _nested(self, indent, name):
        """The outcomes that a result sums up. Planned tests that are missing fail, whatever the result says."""
        nested = []
        for depth in [depth for depth in {**self._children, **self._plans} if depth > indent]:
            outcomes = self._children.pop(depth, [])
            self._parents.pop(depth, None)
            missing = self._plans.pop(depth, 0) - len(outcomes)
            if missing > 0:
                self.fail(name, f"{missing} of its planned tests did not run")
                outcomes.append(FAILED)
            nested += outcomes
        return nested

    def _note(self, indent, outcome):
        if indent:
            self._children.setdefault(indent, []).append(outcome)

    def fail(self, name, reason):
        """Record a failure which the output itself does not name."""
        self.cases.append(Case(name, FAILED, reason))

    def finished(self, status):
        """The suite's program ended with this status: add the failures that it did not report."""
        if self.running:
            self.fail(self.running, "ended without a result")
            self.running = None
        self._fill_up("not run")
        skipped = status == SKIP_STATUS and self.skip_all and not self.cases
        if status and not skipped and not self.count(FAILED):
            self.fail(self.name, f"ended with status {status}")
        if not self.cases:
            if self.skip_all:
                self.cases.append(Case(self.name, SKIPPED, self.skip_all))
            else:
                self.fail(self.name, "gave no result")

    def broken_off(self, reason):
        """The VM has ended: the running test failed, and so did those that did not run."""
        self.fail(self.running or self.name, reason)
        self.running = None
        self._fill_up("not run, " + reason)

    def _fill_up(self, reason):
        """Plans are for top-level results; nested suites (KUnit) have more cases than planned lines."""
        missing = self.planned - len(self.cases)
        if missing > 0:
            self.cases += [Case(f"{self.name}: a planned test", FAILED, reason) for _ in range(missing)]

    def count(self, outcome):
        """How many tests ended so."""
        return sum(case.outcome == outcome for case in self.cases)
