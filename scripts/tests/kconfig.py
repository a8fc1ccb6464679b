#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of which fragments a kernel configuration is made of, and of their check: python3 scripts/tests/kconfig.py"""
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from hmm import kconfig  # noqa: E402
from hmm.tree import Failure  # noqa: E402


class MadeUp(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.object(kconfig, "CONFIGS", self.folder))
        self.enterContext(mock.patch.object(kconfig, "TOP", self.folder))
        self.enterContext(mock.patch.object(kconfig, "PARTS", {"whole": ["part"]}))
        for name in ("run", "part", "whole", "debug", "ours", "ours-part"):
            self.write(name, f"CONFIG_{name.upper().replace('-', '_')}=y\n")

    def write(self, name, text):
        path = self.folder / f"{name}.config"
        path.write_text(text)
        return path


class Fragments(MadeUp):
    def names(self, *arguments):
        return [path.stem for path in kconfig.fragments_of(*arguments)]

    def test_stock_kernel_has_none_of_ours(self):
        self.assertEqual(self.names("base", "part"), ["run", "part"])

    def test_ours_of_the_parts_that_a_kernel_has(self):
        self.assertEqual(self.names("ours", "run"), ["run", "ours"])
        self.assertEqual(self.names("ours", "part+debug"), ["run", "part", "debug", "ours", "ours-part"])

    def test_parts_of_a_configuration(self):
        self.assertEqual(self.names("ours", "whole"), ["run", "part", "whole", "ours", "ours-part"])

    def test_each_once(self):
        self.assertEqual(self.names("base", "whole+part+run"), ["run", "part", "whole"])

    def test_missing_one_is_named(self):
        with self.assertRaisesRegex(Failure, "no configuration 'none': none.config is missing"):
            kconfig.merge(self.folder, self.folder, kconfig.fragments_of("base", "none"))


class Unsatisfied(MadeUp):
    def test_options_that_did_not_take(self):
        first = self.write("first", "CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=y\n")
        second = self.write("second", "CONFIG_D=n\n")
        config = self.write("result", "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y\n")
        self.assertEqual(kconfig.unsatisfied([first, second], config),
                         ["CONFIG_B=m (is y)", "CONFIG_C=n (is y)"])


if __name__ == "__main__":
    unittest.main()
