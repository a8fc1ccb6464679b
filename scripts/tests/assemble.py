#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/assemble on a small made-up kernel: python3 scripts/tests/assemble.py"""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[1]
BASE_FILES = {
    "Makefile": "VERSION = 7\n",
    "mm/Makefile": "obj-y += one.o\nobj-y += old.o\nobj-y += two.o\n",
    "mm/old.c": "int old;\n",
    "mm/one.c": "int keep(void)\n{\n\treturn 1;\n}\n\nint gone(void)\n{\n\treturn 2;\n}\n",
    "mm/two.c": "int two;\n",
}
PATCH = """Subject: hook
---
--- a/mm/Makefile
+++ b/mm/Makefile
@@ -1,3 +1,3 @@
 obj-y += one.o
-obj-y += old.o
+obj-y += ours/
 obj-y += two.o
"""


class Assemble(unittest.TestCase):
    def setUp(self):
        self.top = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        shutil.copytree(SCRIPTS, self.top / "scripts", ignore=shutil.ignore_patterns("tests"))
        self.src = self.top / "build/ours/src"
        for path, text in BASE_FILES.items():
            self.write(f"build/base/src/{path}", text)
        self.write("build/base/source", "package made-up\n")
        self.write("base/folders", "mm\n")
        self.write("base/removed", "mm/old.c\nmm/one.c: gone\n")
        self.write("patches/series", "hook.patch\n")
        self.write("patches/hook.patch", PATCH)
        self.write("mm/ours/new.c", "int new;\n")

    def write(self, path, text):
        path = self.top / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def assemble(self):
        return subprocess.run([sys.executable, self.top / "scripts/assemble"], text=True, capture_output=True)

    def assembled(self):
        done = self.assemble()
        self.assertEqual(done.returncode, 0, done.stderr)
        return {str(path.relative_to(self.src)): path.read_text()
                for path in self.src.rglob("*") if path.is_file()}

    def refused(self, pattern):
        done = self.assemble()
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, pattern)
        self.assertNotIn("Traceback", done.stderr)

    def times(self):
        return {path: path.stat().st_mtime_ns for path in self.src.rglob("*") if path.is_file()}

    def test_removed_patched_and_laid_over(self):
        self.assertEqual(self.assembled(), {
            "Makefile": BASE_FILES["Makefile"],
            "mm/Makefile": "obj-y += one.o\nobj-y += ours/\nobj-y += two.o\n",
            "mm/one.c": "int keep(void)\n{\n\treturn 1;\n}\n",
            "mm/two.c": BASE_FILES["mm/two.c"],
            "mm/ours/new.c": "int new;\n",
        })
        for path, text in BASE_FILES.items():
            self.assertEqual((self.top / "build/base/src" / path).read_text(), text)

    def test_a_link_to_the_base_is_not_written_through(self):
        base = self.top / "build/base/src"
        elsewhere = self.top / "elsewhere"
        base.rename(elsewhere)
        base.symlink_to(elsewhere)
        self.assertIn("mm/ours/new.c", self.assembled())
        self.assertFalse(self.src.is_symlink())
        for path, text in BASE_FILES.items():
            self.assertEqual((elsewhere / path).read_text(), text)

    def test_only_what_changed_is_written(self):
        self.assembled()
        before = self.times()
        self.assembled()
        self.assertEqual(self.times(), before)
        self.write("mm/ours/new.c", "int newer;\n")
        self.assembled()
        changed = [path.name for path, when in self.times().items() if before[path] != when]
        self.assertEqual(changed, ["new.c"])

    def test_what_is_staged_no_more_is_restored(self):
        self.assembled()
        self.write("base/removed", "")
        self.write("patches/series", "")
        shutil.rmtree(self.top / "mm/ours")
        self.assertEqual(self.assembled(), BASE_FILES)
        self.assertFalse((self.src / "mm/ours").exists())

    def test_damage_of_a_killed_run_is_repaired(self):
        wanted = self.assembled()
        (self.src / "mm/ours/new.c").write_text("int n")
        (self.src / "mm/old.c").write_text("int old;\n")
        self.assertEqual(self.assembled(), wanted)

    def test_another_base_replaces_everything(self):
        self.assembled()
        self.write("build/base/src/mm/two.c", "int second;\n")
        self.write("build/base/source", "package another\n")
        self.write("build/ours/run/stale.o", "")
        self.assertEqual(self.assembled()["mm/two.c"], "int second;\n")
        self.assertFalse((self.top / "build/ours/run").exists())

    def test_incomplete_base_is_refused(self):
        (self.top / "build/base/source").unlink()
        self.refused("no complete base kernel")

    def test_silent_replacement_is_refused(self):
        self.write("mm/two.c", "int ours;\n")
        self.refused("mm/two.c would replace the base kernel's file")

    def test_named_replacement_is_taken(self):
        self.write("base/removed", "mm/two.c\n")
        self.write("mm/two.c", "int ours;\n")
        self.assertEqual(self.assembled()["mm/two.c"], "int ours;\n")

    def test_patch_with_other_context_is_refused(self):
        self.write("patches/hook.patch", PATCH.replace(" obj-y += two.o", " obj-y += 2.o"))
        self.refused(r"patches/hook.patch does not apply:\n(.*\n)*.*mm/Makefile")

    def test_unknown_removal_is_refused(self):
        self.write("base/removed", "mm/none.c\n")
        self.refused("the base kernel has no mm/none.c")


if __name__ == "__main__":
    unittest.main()
