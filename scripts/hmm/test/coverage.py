# SPDX-License-Identifier: GPL-2.0
"""What the tests cover of our files, by gcov.

scripts/build-kernel instruments the objects of PROFILED with CONFIG=...+coverage. guest/suites prints their counters,
which the log of the boot holds. Headers of ours count where their code is compiled: a line that is in several objects
is covered if it is in one of them.
"""
import base64
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from typing import NamedTuple

from hmm.series import expression, our_paths
from hmm.test.tap import FAILED, PASSED, Case, Suite
from hmm.tree import OURS_SRC, TOP, Failure, clean_env

NOUVEAU = "drivers/gpu/drm/nouveau"
# The objects with counters, as make's patterns. The tests are among them: they use what the headers define.
PROFILED = (f"{NOUVEAU}/nouveau_svm%.o", f"{NOUVEAU}/nouveau_dmem%.o")
# The files that floors are for, and of these the ones that only serve the tests
MEASURED = (f"{NOUVEAU}/nouveau_svm*.[ch]", f"{NOUVEAU}/nouveau_dmem*.[ch]")
FOR_TESTS = ("**/*_kunit*.[ch]", "**/*_fake*.[ch]", "**/*_stock*.[ch]")
LINES, BRANCHES = 90, 80  # floors, in per cent

COUNTERS = re.compile(r"^# gcov: (\S+)$", re.M)


class Line(NamedTuple):
    """How often a line ran, and for each branch of it whether it was taken."""
    runs: int
    branches: list

    def missed(self):
        """What of it did not run, as words; "" if all did."""
        if not self.runs:
            return "did not run"
        return f"{self.branches.count(False)} of {len(self.branches)} branches" if False in self.branches else ""


class Covered(NamedTuple):
    """How many lines and branches there are, and how many of them ran."""
    lines: int
    lines_run: int
    branches: int
    branches_run: int

    @classmethod
    def of(cls, lines):
        """Counts LINES."""
        every = [taken for line in lines for taken in line.branches]
        return cls(len(lines), sum(line.runs > 0 for line in lines), len(every), sum(every))

    @staticmethod
    def share(run, there):
        """Per cent; all, if there is nothing."""
        return 100 * run / there if there else 100.0

    def shares(self):
        """Per cent of the lines, and of the branches."""
        return self.share(self.lines_run, self.lines), self.share(self.branches_run, self.branches)


def matches(path, globs):
    """Whether one of the GLOBS is PATH's."""
    return any(expression(glob).fullmatch(path) for glob in globs)


def measured_paths():
    """Our files that floors are for."""
    return [path for path in our_paths() if matches(path, MEASURED) and not matches(path, FOR_TESTS)]


def unpack(log, folder):
    """The counters that the log of a boot holds, below FOLDER; returns their paths there."""
    data = base64.b64decode("".join(COUNTERS.findall(pathlib.Path(log).read_text(encoding="utf-8", errors="replace"))))
    if not data:
        raise Failure(f"{log} holds no counters of gcov")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(folder)
    return sorted(pathlib.Path(folder).rglob("*.gcda"))


def reports(log, kernel_build):
    """What gcov says of each object, as it parses its own files; the notes of the compiler lie beside the objects."""
    with tempfile.TemporaryDirectory() as scratch:
        for counters in unpack(log, scratch):
            name = counters.relative_to(scratch).with_suffix(".gcno")
            notes = pathlib.Path("/") / name
            if not notes.is_relative_to(os.path.realpath(kernel_build)):
                raise Failure(f"{notes} is not of the kernel in {kernel_build}")
            shutil.copy2(notes, counters.with_suffix(".gcno"))
            yield gcov(counters, kernel_build)


def gcov(counters, kernel_build):
    """{path of a file of ours: its lines in one object, as gcov describes them}."""
    done = subprocess.run(["gcov", "--branch-probabilities", "--json-format", "--stdout", counters.name],
                          cwd=counters.parent, env=clean_env(), capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout.strip():
        raise Failure(f"gcov {counters.name}: {done.stderr.strip() or 'says nothing'}")
    found = {}
    for file in json.loads(done.stdout)["files"]:
        path = os.path.realpath(os.path.join(kernel_build, file["file"]))
        if path.startswith(f"{OURS_SRC.resolve()}/"):
            found.setdefault(os.path.relpath(path, OURS_SRC.resolve()), []).extend(file["lines"])
    return found


def merged(lines):
    """{number: Line} of a file's lines in all objects and functions that they are part of.

    The compiler may drop branches of one copy of a line: the copies with the most branches stand for it.
    """
    found = {}
    for line in lines:
        taken = [branch["count"] > 0 for branch in line["branches"]]
        runs, known = found.get(line["line_number"], Line(0, taken))
        if len(taken) == len(known):
            taken = [one or other for one, other in zip(taken, known)]
        found[line["line_number"]] = Line(runs + line["count"], taken if len(taken) >= len(known) else known)
    return found


def measured(log, kernel_build):
    """{path: merged() lines} of the files that floors are for. No header but one with code is in an object."""
    lines = {path: [] for path in measured_paths() if path.endswith(".c")}
    for report in reports(log, kernel_build):
        for path, found in report.items():
            if path in lines or path in measured_paths():
                lines.setdefault(path, []).extend(found)
    return {path: merged(found) for path, found in sorted(lines.items())}


def row(name, covered):
    """Of the table."""
    lines, branches = (f"{share:.1f}" if covered.lines else "-" for share in covered.shares())
    return f"{name:<52}{covered.lines:>7}{lines:>8}{covered.branches:>10}{branches:>8}"


def together(found):
    """Of all files."""
    return Covered.of([line for lines in found.values() for line in lines.values()])


def table(found):
    """A line for each file, and one for all of them."""
    rows = [row(path, Covered.of(lines.values())) for path, lines in found.items()]
    return "\n".join([f"{'file':<52}{'lines':>7}{'%':>8}{'branches':>10}{'%':>8}", *rows, row("all", together(found))])


def gaps(found):
    """What did not run, by line, in the manner of a compiler's messages."""
    return "".join(f"{path}:{number}: {line.missed()}\n" for path, lines in found.items()
                   for number, line in sorted(lines.items()) if line.missed())


def judged(found):
    """Each file has counters, and all of them together are covered as far as they must be."""
    suite = Suite("coverage")
    for path, lines in found.items():
        suite.cases.append(Case(path, PASSED, "") if lines else Case(path, FAILED, "no object of it has counters"))
    if not found:
        suite.fail("coverage", f"no file of {TOP.name} matches {' or '.join(MEASURED)}")
        return suite
    for share, floor, what in zip(together(found).shares(), (LINES, BRANCHES), ("lines", "branches")):
        passed = share >= floor
        suite.cases.append(Case(what, PASSED if passed else FAILED,
                                "" if passed else f"{share:.1f} % of them, and {floor} are the floor"))
    return suite
