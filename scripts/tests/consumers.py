#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/hmm/symbols.py, with which scripts/consumers judges links: python3 scripts/tests/consumers.py"""
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from hmm.symbols import Symbols, exports, parsed, unlinkable  # noqa: E402

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


if __name__ == "__main__":
    unittest.main()
