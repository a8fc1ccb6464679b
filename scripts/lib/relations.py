# SPDX-License-Identifier: GPL-2.0
"""Relations between numbered events: for each, the set of those it is related to, as the bits of an int."""
import functools


def union(*relations):
    return [functools.reduce(int.__or__, rows) for rows in zip(*relations)]


def both(a, b):
    return [x & y for x, y in zip(a, b)]


def then(*relations):
    """Composition, from left to right."""
    def two(a, b):
        return [functools.reduce(int.__or__, (b[j] for j in bits(row)), 0) for row in a]
    return functools.reduce(two, relations)


def bits(row):
    while row:
        low = row & -row
        yield low.bit_length() - 1
        row ^= low


def identity(size):
    return [1 << i for i in range(size)]


def maybe(relation):
    return union(identity(len(relation)), relation)


def closure(relation):
    """Any number of steps, none included."""
    result = maybe(relation)
    while (more := then(result, result)) != result:
        result = more
    return result


def acyclic(relation):
    paths = then(relation, closure(relation))
    return not any(row >> i & 1 for i, row in enumerate(paths))


def inverse(relation):
    return [sum(1 << i for i, row in enumerate(relation) if row >> j & 1) for j in range(len(relation))]
