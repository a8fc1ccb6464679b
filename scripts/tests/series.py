#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/series on the small made-up kernel of scripts/tests/assemble.py: python3 scripts/tests/series.py"""
import os
import subprocess
import unittest

import assemble

CHECKPATCH = """#!/bin/sh
for mail do :; done
grep -q badly "$mail" || exit 0
printf '%s\\n' 'mm/ours/new.c:1: ERROR:SPACING: badly' 'mm/ours/some.patch:1: ERROR:TRAILING_WHITESPACE: space'
exit 1
"""


class Mails(assemble.MadeUp):
    def setUp(self):
        super().setUp()
        self.write("build/base/src/scripts/checkpatch.pl", CHECKPATCH)
        (self.top / "build/base/src/scripts/checkpatch.pl").chmod(0o755)
        self.write("series/cover", "mm: all of it\n\nThe cover's text.\n")
        self.write(".gitignore", "build/\n")
        self.git("init", "-q")
        self.commit()

    def commit(self):
        self.git("add", "-A")
        self.git("-c", "user.name=Some Body", "-c", "user.email=some@body.example", "commit", "-q", "-m", "all")

    def mails(self):
        done = self.command("scripts/series", "mails")
        folder = self.top / "build/series/mails"
        return done, {path.name: path.read_text() for path in sorted(folder.iterdir())}

    def test_mails_and_cover_letter(self):
        done, mails = self.mails()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(list(mails), ["0000-cover-letter.patch", "0001-mm-what-it-does.patch",
                                       "0002-mm-what-it-does.patch"])
        cover, first, second = mails.values()
        self.assertIn("Subject: [PATCH 0/2] mm: all of it\n", cover)
        self.assertIn("\nThe cover's text.\n", cover)
        self.assertIn("Subject: [PATCH 1/2] mm: what it does\n\nWhy.\n---\n mm/Makefile ", first)
        self.assertIn("From: Some Body <some@body.example>\n", first)
        self.assertNotIn("late", first)
        self.assertIn(" mm/ours/late.c ", second)

    def test_mails_applied_to_the_kernel_make_the_assembled_tree(self):
        self.mails()
        wanted = self.assembled()
        base = self.top / "build/base/src"
        for mail in sorted((self.top / "build/series/mails").glob("*-mm-*")):
            subprocess.run(["git", "apply", mail], cwd=base, check=True,
                           env={**os.environ, "GIT_CEILING_DIRECTORIES": str(self.top / "build/base")})
        self.assertEqual({str(path.relative_to(base)): path.read_text() for path in base.rglob("*")
                          if path.is_file()}, wanted)

    def test_later_mail_holds_the_difference_to_the_earlier_version(self):
        self.in_two_steps("mm/ours/new.c", "int new;\nint wrong;\n")
        self.commit()
        done, mails = self.mails()
        self.assertEqual(done.returncode, 0, done.stderr)
        _, first, second = mails.values()
        self.assertIn("\n+int new;\n+int wrong;\n", first)
        self.assertIn("\n--- a/mm/ours/new.c\n+++ b/mm/ours/new.c\n", second)
        self.assertIn("\n int new;\n-int wrong;\n", second)

    def test_complaints_of_checkpatch_are_counted(self):
        self.write("mm/ours/new.c", "int badly;\n")
        self.commit()
        done, _ = self.mails()
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"0001-.*: mm/ours/new.c:1: ERROR:SPACING: badly\n.*checkpatch: 1 complaint")


if __name__ == "__main__":
    unittest.main()
