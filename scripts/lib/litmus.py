# SPDX-License-Identifier: GPL-2.0
"""Litmus tests in C, as lib/lkmm.py says: how they are read, and what each thread can do."""
import re

READS = {"READ_ONCE": (), "smp_load_acquire": ("acquire",), "atomic_read": ()}
WRITES = {"WRITE_ONCE": (), "smp_store_release": ("release",)}
ADDS = {f"atomic_{name}_return_{order}": (sign, order)
        for name, sign in (("add", 1), ("sub", -1)) for order in ("relaxed", "acquire", "release")}
FENCES = {"smp_mb": "mb", "smp_rmb": "rmb", "smp_wmb": "wmb"}
STEP = re.compile(r"(?:int\s+)?(?:(\w+)\s*=\s*)?(\w+)\s*\((.*)\)$", re.S)
EXPRESSION = re.compile(r"[\w\s()=!<>&|+-]+$")


class LitmusError(Exception):
    """A test that cannot be read."""


class Event:
    """A read (R), a write (W) or something without a location (F) of a thread; -1 has the initial writes."""

    def __init__(self, kind, loc=None, value=None, tags=(), data=(), ctrl=()):
        self.kind, self.loc, self.value, self.tags = kind, loc, value, frozenset(tags)
        self.data, self.ctrl = frozenset(data), frozenset(ctrl)
        self.thread, self.partner = -1, None  # partner: the read of an atomic write, the lock of an unlock


# Reading a test

def split_test(text):
    """The initial values, the threads' statements and the condition."""
    text = re.sub(r"\(\*\s.*?\*\)|/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"//[^\n]*", " ", text)
    match = re.match(r"\s*C\s+\S+\s*\{(.*?)\}(.*)\bexists\b(.*)$", text, re.S)
    if not match:
        raise LitmusError("no '{ } P0() ... exists' found")
    initial, body, condition = match.groups()
    values = {name: int(value) for name, value in
              re.findall(r"(\w+)\s*=\s*(?:ATOMIC_INIT\s*\()?\s*(\d+)", initial)}
    parts = re.split(r"\bP(\d+)\s*\([^)]*\)", body)
    if parts[0].strip() or [int(n) for n in parts[1::2]] != list(range(len(parts) // 2)):
        raise LitmusError("the threads are not P0, P1 ...")
    return values, [statements(part) for part in parts[2::2]], condition


def statements(text):
    """The tree of a block: calls and assignments as text, (condition, block, block) for an if."""
    tokens = re.findall(r"\s*([{}]|if\s*\((?:[^()]|\([^()]*\))*\)|else\b|[^{};\s][^{};]*;)", text)
    if re.sub(r"\s", "", "".join(tokens)) != re.sub(r"\s", "", text):
        raise LitmusError(f"cannot read {text.strip()!r}")

    def one():
        token = tokens.pop(0).strip()
        if token == "{":
            block = []
            while tokens and tokens[0] != "}":
                block += one()
            if not tokens:
                raise LitmusError("a block has no end")
            tokens.pop(0)
            return block
        if token.startswith("if"):
            yes, no = one(), []
            if tokens and tokens[0].strip() == "else":
                tokens.pop(0)
                no = one()
            return [(token[2:].strip(), yes, no)]
        return [token.rstrip(";").strip()]

    block = one()
    if tokens:
        raise LitmusError(f"cannot read {' '.join(tokens)!r}")
    return block


def evaluate(expression, env):
    """An expression's value and the reads that it depends on."""
    if not EXPRESSION.match(expression):
        raise LitmusError(f"cannot read {expression!r}")
    names = set(re.findall(r"\b[A-Za-z_]\w*", expression))
    if not names <= env.keys():
        raise LitmusError(f"{expression!r}: nothing is known of {', '.join(sorted(names - env.keys()))}")
    python = re.sub(r"!(?!=)", " not ", expression.replace("&&", " and ").replace("||", " or "))
    try:
        value = int(eval(python.strip(), {"__builtins__": {}}, {name: env[name][0] for name in names}))
    except SyntaxError:
        raise LitmusError(f"cannot read {expression!r}") from None
    return value, frozenset().union(*(env[name][1] for name in names))


def added(block):
    """(location, amount) of each atomic operation of a block."""
    for step in block:
        if isinstance(step, tuple):
            yield from added(step[1] + step[2])
        elif (match := STEP.match(step)) and match[2] in ADDS:
            amount, loc = match[3].split(",")
            yield location(loc), ADDS[match[2]][0] * evaluate(amount, {})[0]


def location(text):
    return text.strip("*& ")


# Executions of one thread

def runs(block, domain, env, events=(), ctrl=frozenset()):
    """Every way through a block: (events, variables), with any of the values domain() gives for each read."""
    if not block:
        yield events, env
        return
    step, rest = block[0], block[1:]
    if isinstance(step, tuple):
        value, reads = evaluate(step[0], env)
        for after, variables in runs(step[1] if value else step[2], domain, env, events, ctrl | reads):
            # what comes behind the if depends on it, too: the ways through it differ
            yield from runs(rest, domain, variables, after, ctrl | reads)
        return
    for new, variables in steps(step, domain, env, events, ctrl):
        yield from runs(rest, domain, variables, events + new, ctrl)


def steps(step, domain, env, events, ctrl):
    """What a statement can do: its events and the variables behind it."""
    match = STEP.match(step)
    if not match:
        target, equals, expression = step.removeprefix("int ").partition("=")
        if equals:
            env = {**env, target.strip(): evaluate(expression, env)}
        elif not step.startswith("int "):
            raise LitmusError(f"cannot read {step!r}")
        yield (), env
        return
    target, name, text = match.groups()
    args = [arg.strip() for arg in text.split(",")]
    loc = location(args[-1 if name in ADDS else 0])
    if name in READS and target:
        for value in domain(loc):
            read = Event("R", loc, value, READS[name], ctrl=ctrl)
            yield (read,), {**env, target: (value, frozenset([read]))}
    elif name in ADDS and target:
        sign, order = ADDS[name]
        amount, _ = evaluate(args[0], {})
        for value in domain(loc):
            read = Event("R", loc, value, {order} & {"acquire"}, ctrl=ctrl)
            write = Event("W", loc, value + sign * amount, {order} & {"release"}, {read}, ctrl)
            write.partner = read
            yield (read, write), {**env, target: (write.value, frozenset([read]))}
    elif target and name != "srcu_read_lock":
        raise LitmusError(f"cannot read {step!r}")
    elif name in WRITES:
        value, reads = evaluate(args[1], env)
        yield (Event("W", loc, value, WRITES[name], reads, ctrl),), env
    elif name == "spin_lock":
        read, write = Event("R", loc, None, ("lock", "acquire")), Event("W", loc, None, ("locked",))
        write.partner = read
        yield (read, write), env
    elif name in ("spin_unlock", "srcu_read_unlock"):
        unlock = Event("W", loc, None, ("unlock", "release")) if name == "spin_unlock" else Event("F", loc)
        begin = "locked" if name == "spin_unlock" else "reader"
        partners = [e for e in events if e.loc == loc and begin in e.tags]
        if not partners or any(e.partner is partners[-1] for e in events):
            raise LitmusError(f"{step!r} without a lock")
        unlock.partner = partners[-1]
        yield (unlock,), env
    elif name == "srcu_read_lock":
        yield (Event("F", loc, tags=("reader",)),), {**env, target: (0, frozenset())} if target else env
    elif name in ("synchronize_srcu", "synchronize_srcu_expedited"):
        yield (Event("F", loc, tags=("gp",)),), env
    elif name in FENCES:
        yield (Event("F", tags=(FENCES[name],)),), env
    else:
        raise LitmusError(f"cannot read {step!r}")
