# SPDX-License-Identifier: GPL-2.0
"""Run suites in one boot of the VM and collect their results while they come."""
import os
import re
import signal
import subprocess
import time

from hmm.test.tap import FAILED, Suite
from hmm.vm import console
from hmm.vm.machine import die_with_parent

BEGIN = re.compile(r"^@@ begin (\S+)")
END = re.compile(r"^@@ end (\S+) (\d+)")
CONSOLE = re.compile(r"^vm: .*; console: (\S.*)$")
SUITE_BEGINS = re.compile(r"suite (\S+) begins$")
HEARTBEAT_SECONDS = 20

# Variables of a boot that are for scripts/vm and not for the suites.
FOR_THE_VM = ("EXPECT_CONSOLE", "SYSTEM_FILES")

# The exit statuses of scripts/vm for failures of the VM itself.
VM_ENDED = 121
VM_TROUBLE = {
    VM_ENDED: "the VM ended before the tests did",
    122: "the kernel did not boot",
    123: "kernel report on the console",
    124: "time limit reached",
    125: "the VM could not be started",
}


class Boot:
    """One VM run, with its suites, files and variables.

    `adjust` is called with every suite before its results are shown.
    """

    running = set()
    stopped = False

    @classmethod
    def stop_all(cls):
        """End the VMs of all threads; no more are booted."""
        cls.stopped = True
        for process in list(cls.running):
            process.send_signal(signal.SIGTERM)

    def __init__(self, name, suites, files, seconds, adjust=None, kargs="", **environment):
        self.name = name
        self.names = suites
        self.files = files
        self.seconds = seconds
        self.adjust = adjust
        self.kargs = kargs
        self.environment = environment
        self.suites = []
        self.current = None
        self.begun_at = 0.0
        self.said_at = 0.0
        self.trouble = None

    def run(self, scripts, log_folder, progress):
        """Boot, run and judge; returns the suites."""
        if Boot.stopped:
            return []
        log_path = os.path.join(log_folder, f"{self.name}.log")
        with open(log_path, "w", encoding="utf-8", errors="replace", buffering=1) as log:
            parent = os.getpid()
            process = subprocess.Popen(
                [os.path.join(scripts, "vm"), "run"], env=self._environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                preexec_fn=lambda: die_with_parent(parent, signal.SIGTERM))
            self.running.add(process)
            if Boot.stopped:  # just now
                process.send_signal(signal.SIGTERM)
            try:
                messages = self._follow(process.stdout, log, progress)
            except BaseException:
                process.send_signal(signal.SIGTERM)
                raise
            finally:
                process.wait()
                self.running.discard(process)
        self._judge(process.returncode, progress, messages)
        return self.suites

    def _environment(self):
        quoted = " ".join(f"'{path}'" for path in self.files)
        exports = " ".join(f"{key}='{value}'" for key, value in self.environment.items() if key not in FOR_THE_VM)
        return {**os.environ, "VM_NAME": f"test-{self.name}", "FILES": quoted, "TIMEOUT": str(self.seconds),
                "KARGS": f"{os.environ.get('KARGS', '')} {self.kargs}".strip(),
                "RUN": f"{exports} ./suites {' '.join(self.names)}",
                **{key: self.environment.get(key, "") for key in FOR_THE_VM}}

    def _follow(self, stream, log, progress):
        """Feed the suites; returns the messages of scripts/vm itself."""
        messages = []
        for line in stream:
            log.write(line)
            if line.startswith(("vm: ", "    | ")):
                messages.append(line.rstrip())
            elif BEGIN.match(line):
                self._begin(BEGIN.match(line)[1])
            elif END.match(line):
                self._end(int(END.match(line)[2]), progress)
            elif self.current:
                self.current.feed(line)
                self._heartbeat(progress)
        return messages

    def _begin(self, name):
        self.current = Suite(name)
        self.suites.append(self.current)
        self.begun_at = self.said_at = time.monotonic()

    def _end(self, status, progress):
        suite, self.current = self.current, None
        suite.finished(status)
        suite.seconds = time.monotonic() - self.begun_at
        self._conclude(suite, progress)

    def _conclude(self, suite, progress):
        if self.adjust:
            self.adjust(suite)
        progress.suite(suite)

    def _heartbeat(self, progress):
        now = time.monotonic()
        if now - self.said_at > HEARTBEAT_SECONDS:
            self.said_at = now
            running = f", now {self.current.running}" if self.current.running else ""
            progress.note(f"  {self.current.name}: {len(self.current.cases)} done{running}")

    def _judge(self, status, progress, messages):
        """Turn a failure of the VM itself into failures of the suites."""
        reported = {suite.name for suite in self.suites}
        missing = [name for name in self.names if name not in reported]
        complete = not missing and not self.current
        # A test may make the kernel oops as its process exits, after its result.
        if complete and (not status or status == VM_ENDED and "oops=panic" in self.kargs.split()):
            return
        self.trouble = VM_TROUBLE.get(status, f"the VM ended with status {status}")
        if self.current:
            self.current.broken_off(self.trouble)
            self.current.seconds = time.monotonic() - self.begun_at
            self._conclude(self.current, progress)
        else:
            self._add_failed(self._reported_in(messages), self.trouble, progress)
        for name in missing:
            self._add_failed(name, "not run, " + self.trouble, progress)
        if any(suite.count(FAILED) for suite in self.suites):
            progress.show(messages)

    def _reported_in(self, messages):
        """The suite during which the kernel complained; guest/suites marks their beginnings on the console."""
        logs = [CONSOLE.search(line)[1] for line in messages if CONSOLE.search(line)]
        lines = console.read_lines(logs[-1]) if logs else []
        reports = console.complaints(lines, self.environment.get("EXPECT_CONSOLE"))
        before = lines[:reports[0]] if reports else []
        begun = [SUITE_BEGINS.search(line)[1] for line in before if SUITE_BEGINS.search(line)]
        return f"{begun[-1]}: console" if begun else f"boot of {self.name}: console"

    def _add_failed(self, name, reason, progress):
        suite = Suite(name)
        suite.fail(name, reason)
        self.suites.append(suite)
        self._conclude(suite, progress)
