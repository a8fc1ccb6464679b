# SPDX-License-Identifier: GPL-2.0
"""Build a userland suite with a changed header, and run it."""
import os
import re
import shutil
import signal
import subprocess
from typing import NamedTuple

from ..tree import TOP, Failure, clean_env

USERLAND = "tools/testing/hmm"
COPIED = ("drivers", "include", "mm", USERLAND)  # what the suites include, from their own directories
SECONDS = 10  # of a processor, on top of ten times what the unchanged suite takes
KILLED, SURVIVED, UNBUILT = "killed", "SURVIVED", "unbuilt"


class Result(NamedTuple):
    outcome: str
    how: str    # which test failed


class Bench:
    """A copy of the sources, for one mutant at a time."""

    def __init__(self, folder, seconds=None):
        self.folder, self.seconds = folder, seconds
        shutil.rmtree(folder, ignore_errors=True)
        for name in COPIED:
            if (TOP / name).is_dir():
                shutil.copytree(TOP / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("*_kunit"))

    def build(self, suite):
        """The program, and what the compiler said; None if it does not compile."""
        program = self.folder / "out" / suite
        program.unlink(missing_ok=True)
        done = subprocess.run(["make", "-s", "-C", self.folder / USERLAND, f"OUTPUT={program.parent}", program],
                              env=clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace")
        return (None if done.returncode else program), done.stdout

    def command(self, program):
        """PROGRAM under its limit, which is no time limit: a slow machine makes no difference."""
        limit = f"ulimit -S -t {self.seconds}; " if self.seconds else ""
        return ["sh", "-c", f'ulimit -c 0; {limit}exec "$0"', program]

    def run(self, program):
        """How the program fails, or "" if it does not; the first test that fails is enough."""
        last = ""
        with subprocess.Popen(self.command(program), env=clean_env(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                for line in process.stdout:
                    text = line.decode(errors="replace").strip()
                    if match := re.match(r"not ok \d+ (\S+)", text):
                        return match[1].rpartition(".")[2]
                    if match := re.search(r"runtime error: .*|ERROR: AddressSanitizer: \S+", text):
                        last = match[0]
            finally:
                process.kill()  # does nothing to one that has ended
                status = process.wait()
        if status == -signal.SIGXCPU:
            return "does not end"
        return (last or f"status {status}") if status else ""

    def trial(self, header, text, suite):
        """The outcome with TEXT in place of the header."""
        (self.folder / header).write_text(text)
        program, _ = self.build(suite)
        if not program:
            return Result(UNBUILT, "")
        how = self.run(program)
        return Result(KILLED, how) if how else Result(SURVIVED, "")


def limit_for(folder, header, suite):
    """Seconds of a processor for a mutant. The unchanged suite must pass, or all mutants would seem to fail."""
    if not (TOP / header).is_file():
        raise Failure(f"{header}: there is no such header")
    bench = Bench(folder)
    program, said = bench.build(suite)
    if not program:
        raise Failure(f"{suite} does not build:\n{said}".rstrip())
    before = os.times()
    if how := bench.run(program):
        raise Failure(f"{suite} fails without a change: {how}")
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return SECONDS + int(10 * used)
