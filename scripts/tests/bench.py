#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of how scripts/bench judges and shows figures: python3 scripts/tests/bench.py"""
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from hmm.bench import table  # noqa: E402

LISTING = """\
walk\tcount\tsection one\twalk\tmost\t18
order\tcount\tsection one\t order\tleast\t4
floor\tclock\tsection two\tfloor\tnone\t0
"""


def rows(**figures):
    """The rows of LISTING with figures: name=(base's runs, ours)."""
    made = table.rows_of(LISTING)
    for row in made:
        row.runs["base"], row.runs["ours"] = figures.get(row.name, ([1.0], [1.0]))
    return made


class Judging(unittest.TestCase):
    def test_limits(self):
        walk, order, floor = rows(walk=([90.0], [18.0]), order=([0.0], [4.0]))
        self.assertEqual((walk.met(), order.met(), floor.met()), (True, True, None))
        walk, order, _ = rows(walk=([90.0], [18.1]), order=([0.0], [3.0]))
        self.assertEqual((walk.met(), order.met()), (False, False))

    def test_median_and_spread(self):
        walk = rows(walk=([90.0], [10.0, 30.0, 20.0]))[0]
        self.assertEqual(walk.figure("ours"), 20.0)
        self.assertEqual(walk.spread("ours"), 1.0)
        self.assertAlmostEqual(walk.ratio(), 20 / 90)

    def test_absent(self):
        walk = rows(walk=([table.ABSENT], [table.ABSENT]))[0]
        self.assertEqual((walk.met(), walk.ratio(), walk.spread("ours")), (False, None, 0.0))

    def test_verdict(self):
        self.assertEqual(table.verdict(rows(order=([0.0], [4.0]))), "all 2 goals met")
        self.assertEqual(table.verdict(rows()), "1 of 2 goals met")
        self.assertIn("no goal", table.verdict(rows()[2:]))


class Floors(unittest.TestCase):
    LISTING = "touch\tcount\tone\ttouch\tmost\t2200\ntouch-floor\tcount\tone\t floor\tnone\t0\n"

    def made(self, ours, floor):
        """Two rows."""
        touch, bottom = table.rows_of(self.LISTING)
        touch.runs["ours"], bottom.runs["ours"] = [ours], [floor]
        return [touch, bottom]

    def test_above_the_goal(self):
        rows_made = self.made(2400.0, 2326.0)
        self.assertEqual(table.out_of_reach(rows_made), {"touch"})
        self.assertIn("0 of 1 goals met, 1 out of reach", table.verdict(rows_made))
        self.assertIn("out of reach", table.text(rows_made, "heading").splitlines()[5])

    def test_below_the_goal(self):
        for ours in (2400.0, 2150.0):
            self.assertEqual(table.out_of_reach(self.made(ours, 2100.0)), set())

    def test_absent(self):
        self.assertEqual(table.out_of_reach(self.made(2400.0, table.ABSENT)), set())


class Reading(unittest.TestCase):
    def test_values(self):
        said = ["# counted", "row\twalk\t90.25", "row\torder\t-", "vm: noise", "row\tfloor\tfailed: why"]
        values = table.values_of(said)
        self.assertEqual(values, {"walk": "90.25", "order": "-", "floor": "failed: why"})
        self.assertEqual((table.number("90.25"), table.number("-")), (90.25, table.ABSENT))

    def test_chosen(self):
        names = [row.name for row in table.chosen(rows(), ["w*", "floor"])]
        self.assertEqual(names, ["walk", "floor"])


class Showing(unittest.TestCase):
    def test_text(self):
        shown = table.text(rows(walk=([90.0], [10.0, 20.0])), "heading").splitlines()
        self.assertEqual(shown[0], "1 of 2 goals met")
        walk = next(line for line in shown if line.startswith("  walk"))
        self.assertEqual(walk.split(), ["walk", "90", "15", "0.17", "<=", "18", "yes", "spread:", "ours", "66.7%"])

    def test_digits(self):
        self.assertEqual([table.plain(figure) for figure in (None, 512.0, 0.0954, 7.234, 90.31, 2440.4)],
                         ["-", "512", "0.095", "7.23", "90.3", "2440"])


if __name__ == "__main__":
    unittest.main()
