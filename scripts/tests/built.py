#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/hmm/built.py, by which an up-to-date kernel is not built again: python3 scripts/tests/built.py"""
import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from hmm import built  # noqa: E402

PRODUCTS = ("vmlinux",)


class Built(unittest.TestCase):
    def setUp(self):
        top = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.src, self.out = top / "src", top / "out"
        for path in (self.src / "mm", self.out):
            path.mkdir(parents=True)
        (self.src / "mm/one.c").write_text("int one;\n")
        (self.out / ".config").write_text("CONFIG_HMM_MIRROR=y\n")
        self.build()

    def build(self, change=None):
        with built.Record(self.out, []):
            (self.out / "vmlinux").write_text("")
            if change:
                change()

    def up_to_date(self, command=()):
        return built.up_to_date(self.src, self.out, list(command), PRODUCTS)

    def later(self, path):
        """PATH was changed some time after the build: the kernel's clock for files is coarse."""
        stamp = self.out / built.STAMP
        old = stamp.stat().st_mtime_ns - 10**9
        os.utime(stamp, ns=(old, old))
        return path

    def settle(self):
        """Everything so far happened some time before the build."""
        stamp = self.out / built.STAMP
        new = stamp.stat().st_mtime_ns + 10**9
        os.utime(stamp, ns=(new, new))

    def test_nothing_changed(self):
        self.settle()
        self.assertTrue(self.up_to_date())

    def test_source_changed(self):
        self.later(self.src / "mm/one.c").write_text("int two;\n")
        self.assertFalse(self.up_to_date())

    def test_source_removed(self):
        self.settle()
        self.assertTrue(self.up_to_date())
        self.later(self.src / "mm/one.c").unlink()
        self.assertFalse(self.up_to_date())

    def test_config_command_product_and_flags(self):
        self.settle()
        self.assertFalse(self.up_to_date(["KCSAN_SANITIZE=y"]))
        with mock.patch.dict(os.environ, KCFLAGS="-g"):
            self.assertFalse(self.up_to_date())
        with mock.patch.dict(os.environ, MFLAGS="-s", MAKEFLAGS="s"):
            self.assertTrue(self.up_to_date())
        self.assertTrue(self.up_to_date())
        (self.out / ".config").write_text("")
        self.assertFalse(self.up_to_date())

    def test_product_gone(self):
        self.settle()
        (self.out / "vmlinux").unlink()
        self.assertFalse(self.up_to_date())

    def test_failed_build(self):
        self.settle()
        with self.assertRaises(ValueError), built.Record(self.out, []):
            raise ValueError
        self.assertFalse(self.up_to_date())

    def test_source_changed_during_the_build(self):
        stamp = self.out / built.STAMP

        def edit():
            begun = self.out / f"{built.STAMP}.begun"
            old = begun.stat().st_mtime_ns - 10**9
            os.utime(begun, ns=(old, old))
            (self.src / "mm/one.c").write_text("int two;\n")

        self.build(edit)
        self.assertTrue(stamp.is_file())
        self.assertFalse(self.up_to_date())


if __name__ == "__main__":
    unittest.main()
