# SPDX-License-Identifier: GPL-2.0
"""Users of HMM and of the notifiers: RDMA with on-demand paging over rxe, and KVM.

RDMA is used by programs of this machine and one of ours, KVM by the stock kernel's own selftests and by one of ours,
which tells how long the creation of a VM takes.
"""
import glob
import os

from hmm.test.build import BuildError
from hmm.test.chaos import python_library
from hmm.test.expect import read_words
from hmm.vm.settings import REPOSITORY, SettingsError

# perftest does not do atomic operations with paging on demand; pyverbs does.
RDMA = ("rc_pingpong", "srq_pingpong", "send_bw", "send_lat", "write_bw", "write_lat", "read_bw", "read_lat",
        "pyverbs", "changes")
BINARIES = ("ibv_rc_pingpong", "ibv_srq_pingpong", "ib_send_bw", "ib_send_lat", "ib_write_bw", "ib_write_lat",
            "ib_read_bw", "ib_read_lat", "rdma", "ip")
# The library's part for rxe, and the file by which the library finds it
PROVIDER = ("/usr/lib/*/libibverbs/librxe-*.so", "/etc/libibverbs.d/rxe.driver")
PYVERBS = ("/usr/bin/python3", "/usr/lib/python3/dist-packages/pyverbs")

# KVM's selftests that pass on the stock kernel, and the options that make them short
KVM_LIST = os.path.join(REPOSITORY, "base/kvm-selftests")
# What the short form runs: programs that change the memory of a process while a device or a guest uses it
SHORT = ("rdma:rc_pingpong", "rdma:changes", "kvm:dirty_log_test", "kvm:demand_paging_test", "kvm:kvm_page_table_test",
         "kvm:memslot_modification_stress_test", "kvm:access_tracking_perf_test", "kvm:guest_memfd_test", "vm")


def every_suite():
    """All that there are."""
    return [*(f"rdma:{name}" for name in RDMA), *(f"kvm:{row[0]}" for row in read_words(KVM_LIST)), "vm"]


def chosen(environment):
    """Those that TESTS names; otherwise all, or a few of them in short form."""
    suites = every_suite()
    wanted = (environment.get("TESTS") or "").split()
    for name in wanted:
        if name not in suites:
            raise SettingsError(f"TESTS: there is no {name}; rdma:NAME is one of {', '.join(RDMA)}, kvm:NAME one of "
                                "those that base/kvm-selftests lists, and there is vm")
    return wanted or [*(SHORT if is_short(environment) else suites)]


def is_short(environment):
    """Whether the short form is asked for."""
    return (environment.get("HMM_QUICK") or "0") != "0"


def kvm_programs(suites):
    """Those of KVM's selftests that these suites are."""
    return [suite.removeprefix("kvm:") for suite in suites if suite.startswith("kvm:")]


def system_files(suites):
    """The programs of this machine that the VM needs, which have the same path there."""
    pyverbs = "rdma:pyverbs" in suites
    found = []
    for name in (*(f"/usr/*bin/{name}" for name in BINARIES), *PROVIDER, *(PYVERBS if pyverbs else ())):
        paths = [path for path in glob.glob(name) if os.path.exists(path)]
        if not paths:
            raise BuildError(f"not installed: {os.path.basename(name)} (scripts/deps users)")
        found += paths[:1]
    return " ".join([*found, *([python_library()] if pyverbs else [])])
