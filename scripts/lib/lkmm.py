# SPDX-License-Identifier: GPL-2.0
"""Small litmus tests against the kernel's memory model, for where herd7 is not to be had.

verdict(text) says whether the condition of a litmus test holds Never, Sometimes or Always. All executions of the
test are made up: every value that a read can return, the write that it came from, every order of the writes to
a location and of the holders of a lock. Those that the model forbids are dropped, by the axioms of the kernel's
tools/memory-model: coherence, atomicity, happens-before, propagation, and grace periods against SRCU readers.

What it does not know, and herd7 does:
  - of C: loops, pointers, arrays and functions; all variables are int;
  - plain accesses: each one must be marked, a read by READ_ONCE() or stronger, and data races are not looked for;
  - RCU, read-write locks, spin_trylock(), xchg(), cmpxchg(), operations without an ordering suffix, and the
    smp_mb__before/after family;
  - address dependencies; and srcu_read_lock() is no memory access of its own, which allows more, never less;
  - the difference between "unlikely" and "cannot": like herd7, it knows nothing of real machines.

What it cannot read it refuses. A thread that waits is to be written as one that gives up when it would wait.
"""
import itertools
import re

from lib.litmus import Event, LitmusError, added, runs, split_test
from lib.relations import acyclic, both, closure, inverse, maybe, then, union

__all__ = ["LitmusError", "verdict"]


class Execution:
    """Events of all threads, with where reads read from and in what order writes went to memory."""

    def __init__(self, events):
        self.events, self.size = events, len(events)
        self.index = {event: i for i, event in enumerate(events)}
        self.po = self.pairs(lambda a, b: a.thread == b.thread >= 0 and self.index[a] < self.index[b])
        self.loc = self.pairs(lambda a, b: a.loc == b.loc)
        self.internal = self.pairs(lambda a, b: a.thread == b.thread)
        self.external = self.pairs(lambda a, b: a.thread != b.thread)
        self.rmw = self.pairs(lambda a, b: b.kind == "W" and b.partner is a and a.kind == "R")
        self.dependencies()
        self.fences()

    def pairs(self, holds):
        return [sum(1 << j for j, b in enumerate(self.events) if holds(a, b)) for a in self.events]

    def those(self, holds):
        """The identity on some events."""
        return [1 << i if holds(event) else 0 for i, event in enumerate(self.events)]

    def tagged(self, tag):
        return self.those(lambda event: tag in event.tags)

    def dependencies(self):
        self.reads, self.writes = (self.those(lambda e, k=kind: e.kind == k) for kind in "RW")
        self.memory = union(self.reads, self.writes)
        self.data = self.pairs(lambda a, b: a in b.data)
        self.ctrl = self.pairs(lambda a, b: a in b.ctrl and b.kind == "W")

    def fences(self):
        po, memory, gp = self.po, self.memory, self.tagged("gp")
        self.strong = union(then(memory, po, self.tagged("mb"), po, memory), then(po, gp, maybe(po)))
        self.release = then(memory, po, self.tagged("release"))
        self.wmb = then(self.writes, po, self.tagged("wmb"), po, self.writes)
        rmb = then(self.reads, po, self.tagged("rmb"), po, self.reads)
        self.fence = union(self.strong, self.release, self.wmb, rmb, then(self.tagged("acquire"), po, memory))
        self.gp = gp
        # from the end of a reader back to its begin
        self.rscsi = self.pairs(lambda a, b: a.kind == "F" and b is a.partner)

    def allowed(self, rf, co):
        """Does the model allow it? Names are those of the model."""
        fr = [row & ~(1 << i) for i, row in enumerate(then(inverse(rf), co))]
        po, memory = self.po, self.memory
        if not acyclic(union(both(self.loc, then(memory, po, memory)), rf, co, fr)):
            return False
        if any(both(self.rmw, then(both(fr, self.external), both(co, self.external)))):
            return False
        rfe = both(rf, self.external)
        overwrite = union(co, fr)
        unlock_lock = then(po, self.tagged("unlock"), union(po, rf), self.tagged("lock"), po)
        to_w = union(self.data, self.ctrl, both(overwrite, self.internal))
        to_r = then(self.data, both(rf, self.internal))
        ppo = union(to_w, to_r, both(self.fence, self.internal), both(unlock_lock, self.internal))
        cumul = then(union(then(maybe(rfe), union(self.strong, self.release)), self.wmb, unlock_lock),
                     closure(then(rf, self.rmw)))
        prop = then(maybe(both(overwrite, self.external)), closure(cumul), maybe(rfe))
        hb = union(ppo, rfe, [row & ~(1 << i) for i, row in enumerate(both(prop, self.internal))])
        if not acyclic(hb):
            return False
        hb = closure(hb)
        pb = then(prop, self.strong, hb)
        if not acyclic(pb):
            return False
        link = then(maybe(po), hb, closure(pb), prop, po)
        order = then(po, self.rcu_order(link), maybe(po))
        rb = then(prop, order, hb, closure(pb))
        return not any(row >> i & 1 for i, row in enumerate(rb))

    def rcu_order(self, link):
        """What as many grace periods as readers, or more, put into order."""
        order, gp, rscsi = None, self.gp, self.rscsi
        new = union(gp, both(union(then(gp, link, rscsi), then(rscsi, link, gp)), self.loc))
        while order != new:
            order = new
            within = then(link, order, link)
            new = union(order, then(order, link, order),
                        both(union(then(gp, within, rscsi), then(rscsi, within, gp)), self.loc))
        return order


# Executions of all threads

def reads_from(events):
    """For each read, the writes that it can be from. The holders of a lock follow from their order."""
    index = {event: i for i, event in enumerate(events)}
    for read in events:
        if read.kind == "R" and "lock" not in read.tags:
            yield [(index[read], index[write]) for write in events
                   if write.kind == "W" and (write.loc, write.value) == (read.loc, read.value)
                   and (write.thread != read.thread or index[write] < index[read])]


def orders(events):
    """For each location, the orders in which writes can get there: of a lock, those of its holders."""
    for loc in sorted({event.loc for event in events if event.kind == "W"}):
        writes = [i for i, event in enumerate(events) if event.kind == "W" and event.loc == loc]
        first, later = writes[0], writes[1:]
        possible = []
        for order in itertools.permutations(later):
            if any(a > b and events[a].thread == events[b].thread for a, b in itertools.combinations(order, 2)):
                continue
            pairs = zip(order, order[1:])
            if any("locked" in events[a].tags and events[b].partner is not events[a] for a, b in pairs):
                continue
            possible.append((first, *order))
        yield possible


def candidates(execution):
    """(rf, co, last write of each location) for all that can be thought of."""
    events, index = execution.events, execution.index
    for sources in itertools.product(*reads_from(events)):
        for choice in itertools.product(*orders(events)):
            rf, co = [0] * execution.size, [0] * execution.size
            for read, write in sources:
                rf[write] |= 1 << read
            for order in choice:
                for before, after in itertools.combinations(order, 2):
                    co[before] |= 1 << after
                for before, after in zip(order, order[1:]):
                    if "locked" in events[after].tags:
                        rf[before] |= 1 << index[events[after].partner]
            yield rf, co, {events[order[-1]].loc: events[order[-1]].value for order in choice}


def all_runs(initial, threads):
    """For each thread its runs, with every value that some thread can write for each read."""
    values = {loc: {value} for loc, value in initial.items()}
    sums = {}  # of what atomic operations can have added to each location: each of them runs once at most
    for loc, amount in (pair for thread in threads for pair in added(thread)):
        sums[loc] = sums.get(loc, {0}) | {total + amount for total in sums.get(loc, {0})}

    def domain(loc):
        return sorted({value + total for value in values.get(loc, {0}) for total in sums.get(loc, {0})})

    known = None
    while known != (known := str(values)):
        result = [list(runs(thread, domain, {})) for thread in threads]
        for event in (event for ways in result for events, _ in ways for event in events):
            if event.kind == "W" and event.value is not None and not event.partner:
                values.setdefault(event.loc, {0}).add(event.value)
        if any(len(some) > 16 for some in values.values()):
            raise LitmusError("too many values")
    return result


def whole_runs(initial, threads):
    """The runs of all threads that fit together: what one reads, one writes."""
    ways = []
    for thread in all_runs(initial, threads):
        ways.append([(run, {(e.loc, e.value) for e in run[0] if e.kind == "R" and "lock" not in e.tags},
                      {(e.loc, e.value) for e in run[0] if e.kind == "W"}) for run in thread])
    for choice in itertools.product(*ways):
        written = set().union(*(writes for _, _, writes in choice))
        if all(value == initial.get(loc, 0) or (loc, value) in written
               for _, reads, _ in choice for loc, value in reads):
            yield [run for run, _, _ in choice]


def compiled(condition):
    """A function of the registers and the locations' last values; what was never set is 0."""
    if not re.match(r"[\w\s():=~/\\]+$", condition):
        raise LitmusError(f"cannot read {condition!r}")
    python = re.sub(r"(?:(\d+):)?\b([A-Za-z_]\w*)\s*=\s*(\d+)",
                    lambda m: f"(get({(m[1] and int(m[1]), m[2])}, 0) == {m[3]})", condition)
    python = python.replace("/\\", " and ").replace("\\/", " or ").replace("~", " not ")
    try:
        code = compile(python.strip(), "condition", "eval")
    except SyntaxError:
        raise LitmusError(f"cannot read {condition.strip()!r}") from None
    return lambda values: bool(eval(code, {"get": values.get}))


def verdict(text):
    """Never, Sometimes or Always."""
    initial, threads, condition = split_test(text)
    holds, found = compiled(condition), set()
    for ways in whole_runs(initial, threads):
        events = []
        for number, (run, _) in enumerate(ways):
            for event in run:
                event.thread = number
            events += run
        locs = sorted({event.loc for event in events if event.kind != "F"})
        execution = Execution([Event("W", loc, initial.get(loc, 0)) for loc in locs] + events)
        registers = {(number, name): value for number, (_, env) in enumerate(ways)
                     for name, (value, _) in env.items()}
        for rf, co, last in candidates(execution):
            value = holds({**registers, **{(None, loc): value for loc, value in last.items()}})
            if value not in found and execution.allowed(rf, co):
                found.add(value)
        if len(found) == 2:
            return "Sometimes"
    if not found:
        raise LitmusError("no execution is allowed")
    return "Always" if True in found else "Never"
