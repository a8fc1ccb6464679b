#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of how scripts/consumers judges links and probes, finds files, lays out sketches: scripts/tests/consumers.py"""
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from hmm.consumers.probe import complaints_about  # noqa: E402
from hmm.consumers.sketch import lay_out  # noqa: E402
from hmm.consumers.sources import users_for, within  # noqa: E402
from hmm.consumers.targets import TARGETS, chosen  # noqa: E402
from hmm.symbols import Symbols, exports, parsed, unlinkable  # noqa: E402
from hmm.tree import Failure  # noqa: E402

NM = """\
mm/hmm.o:0000000000000000 T hmm_range_fault
mm/hmm.o:0000000000000010 T hmm_hidden
mm/hmm.o:0000000000000020 t helper
mm/hmm.o:0000000000000000 r __export_symbol_hmm_range_fault
gpu/svm.o:0000000000000000 T gpu_svm
gpu/svm.o:                 U hmm_range_fault
gpu/svm.o:                 U printk
"""


def using(name):
    return Symbols(set(), set(), {name})


class Link(unittest.TestCase):
    def setUp(self):
        self.objects = parsed(NM.splitlines())

    def complaints(self, **more):
        paths = {path.replace("_", "/") + ".o": symbols for path, symbols in more.items()}
        return unlinkable(self.objects | paths, {"gpu/svm.o", *(path for path in paths if path.startswith("gpu"))},
                          lambda name: name.startswith(("hmm_", "gpu_")))

    def test_kinds_of_exports(self):
        self.assertEqual(exports('EXPORT_SYMBOL(one);\nEXPORT_SYMBOL_GPL(two);\n#define E EXPORT_SYMBOL(three);\n'
                                 'EXPORT_SYMBOL_FOR_MODULES(four, "kvm,xe");\n'),
                         {"one": "EXPORT_SYMBOL", "two": "EXPORT_SYMBOL_GPL",
                          "four": 'EXPORT_SYMBOL_FOR_MODULES("kvm,xe")'})

    def test_what_nm_says(self):
        self.assertEqual(self.objects, {
            "mm/hmm.o": Symbols({"hmm_range_fault", "hmm_hidden"}, {"hmm_range_fault"}, set()),
            "gpu/svm.o": Symbols({"gpu_svm"}, set(), {"hmm_range_fault", "printk"})})

    def test_exported_is_enough(self):
        self.assertEqual(self.complaints(), [])

    def test_undefined_symbol(self):
        self.assertEqual(self.complaints(mm_gup=using("hmm_gone")),
                         ["mm/gup.o needs hmm_gone, which nothing defines"])

    def test_a_module_needs_an_export(self):
        self.assertEqual(self.complaints(mm_gup=using("hmm_hidden")), [])
        self.assertEqual(self.complaints(gpu_mmu=using("hmm_hidden")),
                         ["gpu/mmu.o is of a module and needs hmm_hidden, which mm/hmm.o does not export"])

    def test_within_modules_no_export_is_needed(self):
        self.assertEqual(self.complaints(gpu_mmu=using("gpu_svm")), [])


class Files(unittest.TestCase):
    FOUND = {"arch/x86/mm/tlb.c", "arch/powerpc/mm/book3s64/radix_tlb.c", "drivers/iommu/intel/svm.c", "mm/memory.c"}
    PLACES = {"drivers/iommu/intel/": ["x86_64"]}

    def users(self, name):
        with unittest.mock.patch("hmm.consumers.sources.natives", lambda found: self.PLACES):
            return users_for(*chosen(name), self.FOUND)

    def test_a_directory_holds_what_is_below_it(self):
        self.assertTrue(within("mm/hmm/walk.c", "mm/"))
        self.assertFalse(within("mm/hmm.c", "mm/hmm"))

    def test_an_architecture_has_its_own_files_and_the_common_ones(self):
        self.assertEqual(self.users("x86_64"), ["arch/x86/mm/tlb.c", "drivers/iommu/intel/svm.c", "mm/memory.c"])
        self.assertEqual(self.users("powerpc"), ["arch/powerpc/mm/book3s64/radix_tlb.c", "mm/memory.c"])
        self.assertEqual(self.users("arm64-64k"), ["mm/memory.c"])

    def test_all_targets(self):
        self.assertEqual(chosen("all"), list(TARGETS))


class Probes(unittest.TestCase):
    RETIRED = "retired/vma_fault"
    SAID = "probes/{0}.c:8:9: error: implicit declaration of function 'hmm_vma_fault'; did you mean 'x'?\n"

    def complaints(self, name, log, *built):
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            (folder / "retired").mkdir()
            for path in built:
                (folder / f"{path}.o").touch()
            return complaints_about(folder, name, log)

    def test_a_probe_that_compiles(self):
        self.assertEqual(self.complaints("range_fault", "", "range_fault"), [])
        self.assertEqual(self.complaints("range_fault", "range_fault.c:3:1: error: gone\n"),
                         ["range_fault does not compile: gone"])

    def test_a_retired_one_fails_for_its_reason(self):
        self.assertEqual(self.complaints(self.RETIRED, self.SAID.format(self.RETIRED)), [])
        self.assertEqual(len(self.complaints(self.RETIRED, "")), 1)
        self.assertEqual(len(self.complaints(self.RETIRED, "", self.RETIRED)), 1)


class Sketches(unittest.TestCase):
    PATCH = "a sketch\n---\n--- a/gpu/a.c\n+++ b/gpu/a.c\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n"

    def laid_out(self, text):
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            (folder / "src/gpu").mkdir(parents=True)
            (folder / "src/gpu/a.c").write_text(text)
            (folder / "sketch.patch").write_text(self.PATCH)
            objects = lay_out(folder / "out", folder / "sketch.patch", folder / "src")
            return objects, (folder / "out/gpu/a.c").read_text(), (folder / "src/gpu/a.c").read_text()

    def test_a_copy_is_patched(self):
        self.assertEqual(self.laid_out("one\ntwo\n"), (["gpu/a.o"], "one\nthree\n", "one\ntwo\n"))

    def test_there_is_no_fuzz(self):
        with self.assertRaises(Failure):
            self.laid_out("other\ntwo\n")


if __name__ == "__main__":
    unittest.main()
