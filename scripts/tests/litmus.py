#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/lib/lkmm.py with what is known of the memory model; to be run as it is."""
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lib.lkmm import LitmusError, verdict  # noqa: E402


def test_of(condition, *threads, initial=""):
    bodies = "\n".join(f"P{i}(int *x, int *y) {{ {body} }}" for i, body in enumerate(threads))
    return f"C test\n(*\n * some words (and more)\n *)\n{{ {initial} }}\n{bodies}\nexists ({condition})\n"


class Model(unittest.TestCase):
    def check_(self, result, condition, *threads, **more):
        self.assertEqual(verdict(test_of(condition, *threads, **more)), result)

    def test_reads_of_one_location_go_forward(self):
        self.check_("Never", "1:r0=1 /\\ 1:r1=0", "WRITE_ONCE(*x, 1);",
                    "r0 = READ_ONCE(*x); r1 = READ_ONCE(*x);")

    def test_message_passing(self):
        for write, read, result in (
                ("WRITE_ONCE(*y, 1);", "r0 = READ_ONCE(*y);", "Sometimes"),
                ("smp_store_release(y, 1);", "r0 = READ_ONCE(*y);", "Sometimes"),
                ("WRITE_ONCE(*y, 1);", "r0 = smp_load_acquire(y);", "Sometimes"),
                ("smp_store_release(y, 1);", "r0 = smp_load_acquire(y);", "Never"),
                ("smp_wmb(); WRITE_ONCE(*y, 1);", "r0 = READ_ONCE(*y); smp_rmb();", "Never"),
                ("smp_store_release(y, 1);", "r0 = READ_ONCE(*y); if (r0)", "Sometimes")):
            self.check_(result, "1:r0=1 /\\ 1:r1=0", f"WRITE_ONCE(*x, 1); {write}",
                        f"int r1 = 1; {read} r1 = READ_ONCE(*x);")

    def test_store_buffering_needs_full_barriers(self):
        for fences, result in ((("", ""), "Sometimes"), (("smp_mb();", ""), "Sometimes"),
                               (("smp_mb();", "smp_mb();"), "Never")):
            self.check_(result, "0:r0=0 /\\ 1:r0=0",
                        f"WRITE_ONCE(*x, 1); {fences[0]} r0 = READ_ONCE(*y);",
                        f"WRITE_ONCE(*y, 1); {fences[1]} r0 = READ_ONCE(*x);")

    def test_load_buffering_and_dependencies(self):
        plain = "r0 = READ_ONCE(*{0}); WRITE_ONCE(*{1}, 1);"
        data = "r0 = READ_ONCE(*{0}); WRITE_ONCE(*{1}, r0);"
        control = "r0 = READ_ONCE(*{0}); if (r0 == 1) WRITE_ONCE(*{1}, 1);"
        for left, right, result in ((plain, plain, "Sometimes"), (plain, data, "Sometimes"),
                                    (data, data, "Never"), (control, control, "Never")):
            self.check_(result, "0:r0=1 /\\ 1:r0=1", left.format("x", "y"), right.format("y", "x"))

    def test_independent_readers_may_differ(self):
        readers = "r0 = READ_ONCE(*{0}); {2} r1 = READ_ONCE(*{1});"
        for fence, result in (("", "Sometimes"), ("smp_rmb();", "Sometimes"), ("smp_mb();", "Never")):
            self.check_(result, "2:r0=1 /\\ 2:r1=0 /\\ 3:r0=1 /\\ 3:r1=0",
                        "WRITE_ONCE(*x, 1);", "WRITE_ONCE(*y, 1);",
                        readers.format("x", "y", fence), readers.format("y", "x", fence))

    def test_locks_exclude_and_hand_over(self):
        add = "spin_lock(l); r0 = READ_ONCE(*x); WRITE_ONCE(*x, 1 + (r0 == 1)); spin_unlock(l);"
        self.check_("Always", "x=2", add, add)
        self.check_("Never", "1:r0=1 /\\ 1:r1=0",
                    "WRITE_ONCE(*x, 1); spin_lock(l); WRITE_ONCE(*y, 1); spin_unlock(l);",
                    "spin_lock(l); r0 = READ_ONCE(*y); spin_unlock(l); r1 = READ_ONCE(*x);")

    def test_atomic_operations_are_atomic(self):
        self.check_("Always", "x=6", *["r0 = atomic_add_return_relaxed(1, x);"] * 3, initial="x=ATOMIC_INIT(3);")
        self.check_("Never", "0:r0=1 /\\ 1:r0=1", *["r0 = atomic_add_return_relaxed(1, x);"] * 2)

    def test_grace_periods_wait_for_readers(self):
        reader = "r0 = srcu_read_lock({0}); r1 = READ_ONCE(*x); r2 = READ_ONCE(*y); srcu_read_unlock({0}, r0);"
        writer = "WRITE_ONCE(*y, 1); synchronize_srcu(s); WRITE_ONCE(*x, 1);"
        for lock, result in (("s", "Never"), ("t", "Sometimes")):
            self.check_(result, "0:r1=1 /\\ 0:r2=0", reader.format(lock), writer)
        self.check_("Sometimes", "0:r1=1 /\\ 0:r2=0", reader.format("s"), writer.replace("synchronize_srcu(s);", ""))

    def test_a_grace_period_for_each_reader(self):
        reader = "r0 = srcu_read_lock(s); r1 = READ_ONCE(*{0}); WRITE_ONCE(*{1}, 1); srcu_read_unlock(s, r0);"
        writer = "r1 = READ_ONCE(*z); synchronize_srcu(s); WRITE_ONCE(*x, 1);"
        two = "0:r1=1 /\\ 1:r1=1 /\\ 2:r1=1"
        self.check_("Sometimes", two, reader.format("x", "y"), reader.format("y", "z"), writer)
        self.check_("Never", two, reader.format("x", "y"), writer.replace("x", "z").replace("*z)", "*y)"),
                    writer)

    def test_blocks_and_else(self):
        self.check_("Always", "x=2 \\/ x=3", "r0 = READ_ONCE(*y); if (r0 == 1) { WRITE_ONCE(*x, 3); } else "
                    "{ WRITE_ONCE(*x, 2); }", "WRITE_ONCE(*y, 1);")

    def test_what_is_not_understood_is_refused(self):
        for body in ("r0 = *x;", "while (1) WRITE_ONCE(*x, 1);", "rcu_read_lock();", "r0 = xchg(x, 1);",
                     "spin_unlock(l);", "WRITE_ONCE(*x, r7);", "{ WRITE_ONCE(*x, 1);"):
            with self.subTest(body), self.assertRaises(LitmusError):
                verdict(test_of("x=1", body))
        with self.assertRaises(LitmusError):
            verdict("C test\n{}\nP0(int *x) { }\nforall (x=0)\n")


if __name__ == "__main__":
    unittest.main()
