# SPDX-License-Identifier: GPL-2.0
"""Recognise a kernel's complaints in its console output."""
import re

# Lines in which a kernel reports a fault of its own, or a lack of memory, which migrate-zap and memcg provoke. A
# process that crashes in user space is no such fault.
COMPLAINTS = re.compile("|".join((
    r"\bWARNING: ", r"\bBUG: ", r"kernel BUG at ", r"\bOops\b", r"Kernel panic", r"------------\[ cut here \]",
    r"Unable to handle kernel", r"kernel NULL pointer dereference", r"general protection fault",
    r"double fault", r"stack segment", r"invalid opcode", r"int3: ", r"divide error",
    r"UBSAN: ", r"KASAN: ", r"KCSAN: ", r"KFENCE: ", r"KMSAN: ", r"kmemleak: \d+ new suspected",
    r"unreferenced object 0x", r"scheduling while atomic", r"sleeping function called from invalid context",
    r"INFO: task .* blocked for more than", r"INFO: trying to register non-static key", r"hung_task: ",
    r"rcu: INFO: .* detected (expedited )?stall", r"rcu_\w+ (self-)?detected stall", r"soft lockup", r"hard LOCKUP",
    r"possible (circular|recursive|irq lock inversion)", r"lock(ing)? dependency detected", r"suspicious RCU usage",
    r"inconsistent lock state", r"bad unlock balance", r"held lock freed", r"lock held when returning to user space",
    r"still has locks held", r"DEBUG_LOCKS_WARN_ON", r"nested lock was not taken", r"Invalid wait context",
    r"Bad page (state|map|cache)", r"Bad rss-counter", r"bad (pmd|pud|p4d|pgd) ", r"non-zero pgtables_bytes",
    r"refcount_t: ", r"page_owner tracks the page as", r"page dumped because", r"list_(add|del) corruption",
    r"Slab corruption", r"Object already free", r"Objects remaining in", r"Redzone overwritten",
    r"Out of memory: Killed", r"(?<!migrate-zap )(?<!memcg )invoked oom-killer", r"DMA-API: .*(error|leak|out of memory)",
    r"DMAR: .*\bfault (status|addr|index)\b", r"AMD-Vi: Event logged", r"virtio_iommu .*: \w+ fault from EP",
    r"Trying to vfree",
    r"unregister_netdevice: waiting", r"workqueue lockup", r"debugobjects: ", r"ODEBUG: ",
)))
# Lines that only repeat the kernel's parameters.
HARMLESS = re.compile(r"Kernel command line: |Command line: ")

LINES_BEFORE, LINES_AFTER = 3, 45
BLOCKED_BEGIN = re.compile(r"sysrq: Show Blocked State")
TASK = re.compile(r"\btask:(\S.*?)\s+state:\w.*?\bpid:(\d+)")


def read_lines(path):
    """The console's lines without the carriage returns of the serial port."""
    try:
        with open(path, encoding="utf-8", errors="replace") as opened:
            return [line.rstrip() for line in opened.read().replace("\r", "\n").split("\n") if line.strip()]
    except FileNotFoundError:
        return []


def complaints(lines, expected=None):
    """Indexes of the lines that report something wrong; lines which `expected` matches do not count."""
    allowed = re.compile(expected) if expected else None
    return [index for index, line in enumerate(lines)
            if COMPLAINTS.search(line) and not HARMLESS.search(line)
            and not (allowed and is_expected(lines, index, allowed))]


def is_expected(lines, index, allowed):
    """Whether this line is an expected report, or the ruler that opens one."""
    if allowed.search(lines[index]):
        return True
    following = lines[index + 1:index + 3]
    return "[ cut here ]" in lines[index] and any(allowed.search(line) for line in following)


def excerpt(lines, index):
    """The report that begins near this line."""
    return lines[max(0, index - LINES_BEFORE):index + LINES_AFTER]


def tail(lines, count=25):
    """The last lines."""
    return lines[-count:]


def split_blocked_tasks(lines):
    """The console up to the kernel's report of its blocked tasks (SysRq w), and that report; None if there is none."""
    begun = [index for index, line in enumerate(lines) if BLOCKED_BEGIN.search(line)]
    return (lines[:begun[-1]], lines[begun[-1] + 1:]) if begun else (lines, None)


def task_names(lines):
    """The tasks of such a report, as "name (pid)"."""
    return [f"{match[1]} ({match[2]})" for match in map(TASK.search, lines) if match]
