#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of what is refused before anything is fetched, copied or built: python3 scripts/tests/settings.py"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
SCRIPTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SCRIPTS))

from hmm import ksrc  # noqa: E402
from hmm.tree import Failure  # noqa: E402


class Vm(unittest.TestCase):
    def check_(self, **environment):
        """The status of scripts/vm check and what it says."""
        clean = {key: value for key, value in os.environ.items()
                 if key not in ("RUN", "FILES", "TIMEOUT", "MEM", "SMP", "KARGS", "QARGS", "SYSTEM_FILES")}
        done = subprocess.run([sys.executable, SCRIPTS / "vm", "check"], env={**clean, **environment}, text=True,
                              capture_output=True)
        self.assertNotIn("Traceback", done.stderr)
        return done.returncode, done.stderr.strip()

    def test_accepted(self):
        self.assertEqual(self.check_(RUN="true"), (0, ""))
        self.assertEqual(self.check_(RUN="true", FILES=f"'{__file__}' {SCRIPTS}/v*", MEM="2048M", TIMEOUT="9"), (0, ""))

    def test_file_that_the_build_makes(self):
        self.assertEqual(self.check_(RUN="true", BUILD="/none", FILES="/none/ours/run/vmlinux"), (0, ""))

    def test_refused(self):
        for setting, said in (({}, "nothing to run: give RUN='command'"),
                              ({"FILES": "/none/such"}, "FILES=/none/such: no such file or directory"),
                              ({"FILES": "'"}, "FILES=': no closing quotation"),
                              ({"TIMEOUT": "soon"}, "TIMEOUT=soon: a number of seconds is needed"),
                              ({"MEM": "lots"}, "MEM=lots: a size such as 4G or 2048M is needed"),
                              ({"SMP": "0"}, "SMP=0: a number of processors is needed")):
            with self.subTest(said):
                run = {"RUN": "true"} if setting else {}
                self.assertEqual(self.check_(**run, **setting), (125, f"vm: error: {said}"))


class Ksrc(unittest.TestCase):
    def setUp(self):
        self.tree = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.write("Makefile", "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n")
        self.write("mm/Kconfig")

    def write(self, path, text=""):
        (self.tree / path).parent.mkdir(parents=True, exist_ok=True)
        (self.tree / path).write_text(text)

    def test_stock_tree(self):
        ksrc.check(self.tree, "7.3")

    def test_laid_over_already(self):
        self.write("mm/hmm/walk.c")
        with self.assertRaisesRegex(Failure, r"is no stock kernel: .*mm/hmm is there"):
            ksrc.check(self.tree, "7.3")

    def test_other_series(self):
        with self.assertRaisesRegex(Failure, r"is Linux 7\.3\.4; this repository is for Linux 7\.2"):
            ksrc.check(self.tree, "7.2")

    def test_built_in(self):
        self.write(".config")
        with self.assertRaisesRegex(Failure, "make mrproper"):
            ksrc.check(self.tree, "7.3")


if __name__ == "__main__":
    unittest.main()
