#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/assemble on a small made-up kernel: python3 scripts/tests/assemble.py"""
import json
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
MESSAGE = "mm: what it does\n\nWhy.\n"
MAKEFILE = """# ours
obj-y += new.o \\
\t late.o
ifdef CONFIG_LATE
obj-y += late.o
endif
new-$(CONFIG_X) += kept.o
"""
HOOKS = """--- a/mm/Makefile
+++ b/mm/Makefile
@@ -1,3 +1,3 @@
 obj-y += one.o
-obj-y += old.o
+obj-y += ours/
 obj-y += two.o
"""


class MadeUp(unittest.TestCase):
    """A repository with a series of two patches, and a kernel to apply them to."""

    def setUp(self):
        self.top = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        shutil.copytree(SCRIPTS, self.top / "scripts", ignore=shutil.ignore_patterns("tests"))
        self.src = self.top / "build/ours/src"
        for path, text in BASE_FILES.items():
            self.write(f"build/base/src/{path}", text)
        self.write("build/base/source", "package made-up\n")
        self.write("series/1-first/01-one/message", MESSAGE)
        self.write("series/1-first/01-one/remove", "# a comment\nmm/old.c\nmm/one.c: gone\n")
        self.write("series/1-first/01-one/hooks.patch", HOOKS)
        self.write("series/1-first/01-one/files", "mm/ours\n!mm/**/late*\n")
        self.write("series/2-second/01-late/message", MESSAGE)
        self.write("series/2-second/01-late/files", "mm/**/late.[ch]\n")
        self.write("mm/ours/Makefile", MAKEFILE)
        self.write("mm/ours/new.c", "int new;\n")
        self.write("mm/ours/late.c", "int late;\n")

    def write(self, path, text):
        path = self.top / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def command(self, *arguments):
        return subprocess.run([sys.executable, *arguments], cwd=self.top, text=True, capture_output=True)

    def assemble(self):
        return self.command("scripts/assemble")

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

    def git(self, *arguments):
        subprocess.run(["git", "-C", self.top, *arguments], check=True)

    def name(self, path):
        """Have the first patch name one more file."""
        files = self.top / "series/1-first/01-one/files"
        files.write_text(f"{files.read_text()}{path}\n")

    def in_two_steps(self, path, text):
        """Have a file of ours enter in an earlier version; the second patch brings that of the repository."""
        self.write(f"series/1-first/01-one/earlier/{path}", text)
        files = self.top / "series/2-second/01-late/files"
        files.write_text(f"{files.read_text()}{path}\n")

    def states(self):
        """[(name of a patch, {path: text})], by the copy of the scripts in the made-up repository."""
        program = ("import json; from hmm import staging; from hmm.tree import BASE_SRC; print(json.dumps([("
                   "patch.name, {path: file and file.data.decode() for path, file in stage.items()}) "
                   "for patch, stage in staging.states(BASE_SRC)]))")
        done = subprocess.run([sys.executable, "-B", "-c", program], cwd=self.top / "scripts", text=True,
                              capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)


class Assemble(MadeUp):
    def times(self):
        return {path: path.stat().st_mtime_ns for path in self.src.rglob("*") if path.is_file()}

    def test_removed_patched_and_laid_over(self):
        self.assertEqual(self.assembled(), {
            "Makefile": BASE_FILES["Makefile"],
            "mm/Makefile": "obj-y += one.o\nobj-y += ours/\nobj-y += two.o\n",
            "mm/one.c": "int keep(void)\n{\n\treturn 1;\n}\n",
            "mm/two.c": BASE_FILES["mm/two.c"],
            "mm/ours/Makefile": MAKEFILE,
            "mm/ours/late.c": "int late;\n",
            "mm/ours/new.c": "int new;\n",
        })
        for path, text in BASE_FILES.items():
            self.assertEqual((self.top / "build/base/src" / path).read_text(), text)

    def test_a_link_to_the_base_is_not_written_through(self):
        base = self.top / "build/base/src"
        elsewhere = self.top / "build/elsewhere"
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
        shutil.rmtree(self.top / "series")
        self.write("series/1-first/01-one/message", MESSAGE)
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
        self.name("mm/two.c")
        self.refused("mm/two.c would replace the kernel's file: name it in series/1-first/01-one/remove")

    def test_named_replacement_is_taken(self):
        self.write("series/1-first/01-one/remove", "mm/two.c\n")
        self.write("mm/two.c", "int ours;\n")
        self.name("mm/two.c")
        self.assertEqual(self.assembled()["mm/two.c"], "int ours;\n")

    def test_hooks_with_other_context_are_refused(self):
        self.write("series/1-first/01-one/hooks.patch", HOOKS.replace(" obj-y += two.o", " obj-y += 2.o"))
        self.refused(r"series/1-first/01-one/hooks.patch does not apply:\n(.*\n)*.*mm/Makefile")

    def test_hooks_in_a_file_of_ours_are_refused(self):
        self.write("series/2-second/01-late/hooks.patch", HOOKS.replace("mm/Makefile", "mm/ours/new.c"))
        self.refused("hooks.patch edits mm/ours/new.c, which is ours")

    def test_unknown_removal_is_refused(self):
        self.write("series/1-first/01-one/remove", "mm/none.c\n")
        self.refused("series/1-first/01-one/remove: the kernel has no mm/none.c")

    def test_file_that_enters_with_no_patch_is_refused(self):
        self.write("fs/forgotten.c", "int forgotten;\n")
        self.refused("fs/forgotten.c enters with no patch")

    def test_file_that_enters_twice_is_refused(self):
        self.name("mm/ours/late.c")
        self.write("series/1-first/01-one/files", "mm/ours\n")
        self.refused("mm/ours/late.c enters twice: series/1-first/01-one/files and series/2-second/01-late/files")

    def test_line_that_names_nothing_is_refused(self):
        self.name("mm/none*.c")
        self.refused(r"series/1-first/01-one/files: there is no mm/none\*.c")

    def test_program_is_refused(self):
        self.write("mm/ours/new.c", "\x7fELF\0")
        self.refused("mm/ours/new.c is no text file, but a program")

    def test_message_without_a_subject_is_refused(self):
        self.write("series/1-first/01-one/message", "something\n\nWhy.\n")
        self.refused("series/1-first/01-one/message: the first line must be 'subsystem: what'")

    def test_strange_file_is_refused(self):
        self.write("series/1-first/01-one/removed", "mm/two.c\n")
        self.refused("series/1-first/01-one/removed: not one of")

    def test_tracked_files_are_assembled_and_others_refused(self):
        self.git("init", "-q")
        self.write(".gitignore", "*.log\nbuild/\n")
        self.git("add", "-A")
        self.write("mm/ours/some.log", "ignored\n")
        self.assertNotIn("mm/ours/some.log", self.assembled())
        self.write("mm/ours/newer.c", "int newer;\n")
        self.refused("mm/ours/newer.c is not tracked")

    def test_makefile_grows_with_its_files(self):
        *_, (_, first), (_, second) = self.states()
        self.assertEqual(first["mm/ours/Makefile"], "# ours\nobj-y += new.o\nnew-$(CONFIG_X) += kept.o\n")
        self.assertNotIn("mm/ours/late.c", first)
        self.assertEqual(second["mm/ours/Makefile"], MAKEFILE)


class Earlier(MadeUp):
    def test_later_patch_brings_the_file_of_the_repository(self):
        self.in_two_steps("mm/ours/new.c", "int earlier;\n")
        (_, first), (_, second) = self.states()
        self.assertEqual(first["mm/ours/new.c"], "int earlier;\n")
        self.assertEqual(second["mm/ours/new.c"], "int new;\n")
        self.assertEqual(self.assembled()["mm/ours/new.c"], "int new;\n")

    def test_two_earlier_versions(self):
        self.in_two_steps("mm/ours/new.c", "int earlier;\n")
        self.write("series/2-second/01-late/earlier/mm/ours/new.c", "int later;\n")
        self.write("series/2-second/02-last/message", MESSAGE)
        self.write("series/2-second/02-last/files", "mm/ours/new.c\n")
        self.assertEqual([state["mm/ours/new.c"] for _, state in self.states()],
                         ["int earlier;\n", "int later;\n", "int new;\n"])

    def test_earlier_makefile_grows_with_its_files(self):
        self.in_two_steps("mm/ours/Makefile", "obj-y += new.o late.o\n")
        (_, first), (_, second) = self.states()
        self.assertEqual(first["mm/ours/Makefile"], "obj-y += new.o\n")
        self.assertEqual(second["mm/ours/Makefile"], MAKEFILE)

    def test_earlier_version_replaces_the_kernels_file_if_that_is_removed(self):
        self.write("mm/two.c", "int ours;\n")
        self.name("mm/two.c")
        self.in_two_steps("mm/two.c", "int earlier;\n")
        self.refused("mm/two.c would replace the kernel's file")
        self.write("series/1-first/01-one/remove", "mm/two.c\n")
        self.assertEqual([state["mm/two.c"] for _, state in self.states()], ["int earlier;\n", "int ours;\n"])

    def test_earlier_version_is_executable_as_it_is(self):
        self.in_two_steps("mm/ours/new.c", "int new;\n")
        (self.top / "mm/ours/new.c").chmod(0o755)
        self.assembled()
        self.assertTrue((self.src / "mm/ours/new.c").stat().st_mode & 0o100)

    def test_missing_later_patch_is_refused(self):
        self.write("series/1-first/01-one/earlier/mm/ours/new.c", "int earlier;\n")
        self.refused("series/1-first/01-one/earlier/mm/ours/new.c: no later patch names mm/ours/new.c")

    def test_earlier_version_in_the_last_patch_is_refused(self):
        self.in_two_steps("mm/ours/new.c", "int earlier;\n")
        self.write("series/2-second/01-late/earlier/mm/ours/new.c", "int later;\n")
        self.refused("series/2-second/01-late/earlier/mm/ours/new.c: no later patch names mm/ours/new.c")

    def test_earlier_version_that_its_patch_does_not_name_is_refused(self):
        self.write("series/1-first/01-one/earlier/mm/ours/late.c", "int earlier;\n")
        self.refused("series/1-first/01-one/earlier/mm/ours/late.c: series/1-first/01-one/files does not name")

    def test_earlier_version_of_a_file_that_is_no_more_is_refused(self):
        self.in_two_steps("mm/ours/new.c", "int earlier;\n")
        (self.top / "mm/ours/new.c").unlink()
        self.refused("earlier/mm/ours/new.c: series/1-first/01-one/files does not name mm/ours/new.c")

    def test_third_patch_without_an_earlier_version_is_refused(self):
        self.in_two_steps("mm/ours/new.c", "int earlier;\n")
        self.write("series/2-second/02-last/message", MESSAGE)
        self.write("series/2-second/02-last/files", "mm/ours/new.c\n")
        self.refused("mm/ours/new.c enters twice: series/2-second/01-late/files and series/2-second/02-last/files")

    def test_hooks_in_an_earlier_version_are_refused(self):
        self.in_two_steps("mm/ours/new.c", "int earlier;\n")
        self.write("series/2-second/01-late/hooks.patch", HOOKS.replace("mm/Makefile", "mm/ours/new.c"))
        self.refused("hooks.patch edits mm/ours/new.c, which is ours")


if __name__ == "__main__":
    unittest.main()
