# SPDX-License-Identifier: GPL-2.0
"""The outcome of one boot of hmm-torture."""
import re

# Statuses of scripts/vm: the kernel died, reported a problem, or hung. No other status shows that a mutant is broken.
ENDED_EARLY, KERNEL_REPORT, TIMED_OUT = 121, 123, 124
FAILURE = re.compile(r"(?:^hmm-torture: FAILURE|.*Kernel panic - not syncing: hmm_torture): (.*)")
SUCCESS = re.compile(r"^hmm-torture: SUCCESS")


class Outcome:
    """How one boot ended: what scripts/vm printed, and its status."""

    def __init__(self, lines, status):
        self.status = status
        self.failure = next((found[1] for found in map(FAILURE.match, lines) if found), None)
        self.success = not status and not self.failure and any(map(SUCCESS.match, lines))

    def caught(self):
        """How a mutant was caught; None if it was not."""
        if self.failure:
            return self.failure
        if self.status == TIMED_OUT:
            return "nothing goes on any more"
        return "the kernel's own report" if self.status in (ENDED_EARLY, KERNEL_REPORT) else None

    def trouble(self):
        """Why it was no success."""
        return self.failure or f"no verdict (status {self.status} of the VM)"
