# SPDX-License-Identifier: GPL-2.0
"""Messages for the terminal: progress while the tests run, then the verdict."""
import sys
import time
from collections import Counter

from hmm.test.tap import FAILED, KNOWN, PASSED, SKIPPED

SHOWN_AT_ONCE = 4


class Progress:
    """One line for each suite, as it ends."""

    def __init__(self):
        self.begun_at = time.monotonic()

    def note(self, text):
        """A line of the runner's own."""
        print(text, flush=True)

    def suite(self, suite):
        """A suite has ended."""
        failed = suite.count(FAILED)
        lines = [f"  {'FAIL' if failed else 'ok  '}  {suite.name:<34} {suite.count(PASSED):4} passed "
                 f"{failed:3} failed {suite.count(SKIPPED):3} skipped  {suite.seconds:6.1f} s"]
        for case in [case for case in suite.cases if case.outcome == FAILED][:SHOWN_AT_ONCE]:
            lines.append(f"          failed: {case.name}{reason(case)}")
        if failed > SHOWN_AT_ONCE:
            lines.append(f"          and {failed - SHOWN_AT_ONCE} more, named at the end")
        print("\n".join(lines), flush=True)

    def show(self, messages):
        """The messages of scripts/vm about a run that failed."""
        for line in messages:
            print(f"  {line}", flush=True)

    def seconds(self):
        """Time since the start."""
        return time.monotonic() - self.begun_at


def reason(case):
    """The case's explanation, when it has one."""
    return f" ({case.reason})" if case.reason else ""


def conclude(suites, seconds, logs):
    """The verdict, what failed, and the line that programs read; returns the exit status."""
    cases = [case for suite in suites for case in suite.cases]
    count = {outcome: sum(case.outcome == outcome for case in cases) for outcome in (PASSED, FAILED, SKIPPED)}
    bad = count[FAILED] or not count[PASSED]
    print(f"\n{'FAILED' if bad else 'PASSED'} in {seconds:.0f} s; details in {logs}")
    known = sum(case.outcome == SKIPPED and case.reason.startswith(KNOWN) for case in cases)
    if known:
        print(f"  {known} failures that the stock kernel has too are counted as skipped")
    for figure in dict.fromkeys(figure for suite in suites for figure in suite.figures):
        print(f"  measured: {figure}")
    name_cases(suites, PASSED, lambda case: KNOWN in case.reason)
    name_cases(suites, SKIPPED)
    name_cases(suites, FAILED)
    print(f"{count[PASSED]} passed, {count[FAILED]} failed, {count[SKIPPED]} skipped")
    sys.stdout.flush()
    return 1 if bad else 0


def name_cases(suites, outcome, wanted=lambda case: True):
    """One line for each test that ended so; skipped ones with the same reason share it."""
    for suite in suites:
        cases = [case for case in suite.cases if case.outcome == outcome and wanted(case)]
        same = Counter(case.reason for case in cases) if outcome == SKIPPED else {}
        for case in cases:
            where = "" if case.name.startswith(suite.name) or case.name in suite.name else f"{suite.name}: "
            if same.get(case.reason, 0) <= SHOWN_AT_ONCE:
                print(f"  {outcome}: {where}{case.name}{reason(case)}")
        for why, number in same.items():
            if number > SHOWN_AT_ONCE:
                print(f"  {outcome}: {number} tests of {suite.name} ({why})")
