# SPDX-License-Identifier: GPL-2.0
"""RDMA with on-demand paging, over rxe: programs of this machine and one of ours."""
import glob
import os

from hmm.test.build import BuildError

NAMES = ("rc_pingpong", "srq_pingpong", "write_bw", "read_lat", "changes")
BINARIES = ("ibv_rc_pingpong", "ibv_srq_pingpong", "ib_write_bw", "ib_read_lat", "rdma", "ip")
# The library's part for rxe, and the file by which the library finds it
PROVIDER = ("/usr/lib/*/libibverbs/librxe-*.so", "/etc/libibverbs.d/rxe.driver")


def system_files():
    """The programs of this machine that the VM needs, which have the same path there."""
    found = []
    for name in (*(f"/usr/*bin/{name}" for name in BINARIES), *PROVIDER):
        paths = [path for path in glob.glob(name) if os.path.exists(path)]
        if not paths:
            raise BuildError(f"not installed: {os.path.basename(name)} (scripts/deps rdma)")
        found += paths[:1]
    return " ".join(found)
