# SPDX-License-Identifier: GPL-2.0
"""The rows of the benchmark: figures, goals, and how they are shown."""
import dataclasses
import fnmatch
import statistics

NOTED_SPREAD = 0.01
ABSENT = None  # the figure of a row that an implementation lacks

# By sense: the limit, from the base's figure and the goal, and how it is shown
GOALS = {
    "most": (lambda base, goal: goal, "<= {:g}"),
    "least": (lambda base, goal: goal, ">= {:g}"),
    "plus": (lambda base, goal: base + goal, "<= base + {:g}"),
    "times": (lambda base, goal: base * goal, "<= {:g} x base"),
    "alone": (lambda alone, goal: alone * goal, "<= {:g} x alone"),
}
RELATIVE = ("plus", "times", "alone")
SHORT = {("times", 1): "<= base", ("alone", 1): "<= alone"}


@dataclasses.dataclass
class Row:
    """One row; its sense says how `goal` limits the figure of ours: see GOALS."""
    name: str
    by_clock: bool
    section: str
    label: str
    sense: str
    goal: float
    runs: dict = dataclasses.field(default_factory=lambda: {"base": [], "ours": []})
    alone: "Row" = None  # with sense "alone": the row NAME-alone

    def figure(self, implementation):
        """The median of the boots."""
        runs = self.runs[implementation]
        return ABSENT if not runs or ABSENT in runs else statistics.median(runs)

    def spread(self, implementation):
        """How far the boots are apart, as a part of their median."""
        figure = self.figure(implementation)
        runs = self.runs[implementation]
        return (max(runs) - min(runs)) / figure if figure else 0.0

    def ratio(self):
        """Ours as a part of the base."""
        base, ours = self.figure("base"), self.figure("ours")
        return ours / base if base and ours is not ABSENT else None

    def limit(self):
        """The limit of our figure; None if there is no goal, or no base to compare with."""
        base = self.figure("base") if self.sense != "alone" else self.alone.figure("ours")
        if self.sense not in GOALS or (self.sense in RELATIVE and base is ABSENT):
            return None
        return GOALS[self.sense][0](base, self.goal)

    def goal_text(self):
        """The goal as the table shows it."""
        if self.sense not in GOALS:
            return ""
        return SHORT.get((self.sense, self.goal)) or GOALS[self.sense][1].format(self.goal)

    def met(self):
        """Whether ours reaches the goal; None where there is none."""
        ours, limit = self.figure("ours"), self.limit()
        if limit is None:
            return None
        if ours is ABSENT:
            return False
        return ours >= limit if self.sense == "least" else ours <= limit

    def as_json(self):
        """Everything known about the row."""
        figures = {name: {"median": self.figure(name), "runs": runs} for name, runs in self.runs.items()}
        return {"name": self.name, "section": self.section, "label": self.label.strip(),
                "unit": "clock" if self.by_clock else "instructions", "goal": self.goal_text(),
                "limit": self.limit(), **figures, "ratio": self.ratio(), "met": self.met()}


def rows_of(listing):
    """The rows as `hmm-bench -l` lists them."""
    rows = []
    for line in listing.splitlines():
        name, kind, section, label, sense, goal = line.split("\t")
        rows.append(Row(name, kind == "clock", section, label, sense, float(goal)))
    names = {row.name: row for row in rows}
    for row in rows:
        row.alone = names[f"{row.name}-alone"] if row.sense == "alone" else None
    return rows


def chosen(rows, patterns):
    """Those of which the name matches; all when there are no patterns."""
    return [row for row in rows if not patterns or any(fnmatch.fnmatch(row.name, each) for each in patterns)]


def values_of(lines):
    """The values that `hmm-bench` printed, by row."""
    parts = (line.split("\t") for line in lines)
    return {part[1]: part[2] for part in parts if len(part) == 3 and part[0] == "row"}


def number(value):
    """The figure that a value is."""
    return ABSENT if value == "-" else float(value)


def out_of_reach(rows):
    """Names of the rows that cannot meet their goal, because what `NAME-floor` measures does not meet it."""
    floors = {row.name.removesuffix("-floor"): row.figure("ours") for row in rows if row.name.endswith("-floor")}
    return {row.name for row in rows if row.met() is False and floors.get(row.name, ABSENT) is not ABSENT
            and row.sense != "least" and floors[row.name] > row.limit()}


def verdict(rows):
    """One line: how many goals are met."""
    goals = [row.met() for row in rows if row.met() is not None]
    count = sum(goals)
    if not goals:
        return "measured; no goal is set for these rows"
    hopeless = len(out_of_reach(rows))
    most = f", {hopeless} out of reach: what is not HMM's takes more" if hopeless else ""
    return f"all {count} goals met" if count == len(goals) else f"{count} of {len(goals)} goals met{most}"


def text(rows, heading):
    """Verdict and table."""
    lines = [verdict(rows), "", heading]
    hopeless = out_of_reach(rows)
    section = None
    for row in rows:
        if row.section != section:
            section = row.section
            lines += ["", columns(section, "base", "ours", "ratio", "goal", "met")]
        lines.append(shown(row, row.name in hopeless))
    return "\n".join(lines) + "\n"


def columns(label, *cells):
    """One line of the table."""
    widths = (11, 11, 7, 16, 5)
    return f"{label:<66}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths))


def shown(row, hopeless):
    """One row, with its notes."""
    label = f"  {row.label.replace(' ', '  ', 1) if row.label.startswith(' ') else row.label}"
    ratio = row.ratio()
    met = {None: "", True: "yes", False: "no"}[row.met()]
    figures = plain(row.figure("base")), plain(row.figure("ours"))
    cells = *figures, "-" if ratio is None else f"{ratio:.2f}", row.goal_text(), met
    return (columns(label, *cells) + notes(row, hopeless)).rstrip()


def plain(figure):
    """A figure in as many digits as it is worth."""
    if figure is ABSENT:
        return "-"
    if figure == int(figure) and figure < 1e6:
        return str(int(figure))
    for limit, digits in ((1, 3), (10, 2), (1000, 1)):
        if figure < limit:
            return f"{figure:.{digits}f}"
    return f"{figure:.0f}"


def notes(row, hopeless):
    """Whether the goal can be met at all, and which figures differ from boot to boot."""
    spreads = {name: row.spread(name) for name in row.runs}
    noted = [f"{name} {spread:.1%}" for name, spread in spreads.items() if spread > NOTED_SPREAD]
    said = ["out of reach: see the floor"] if hopeless else []
    said += [f"spread: {', '.join(noted)}"] if noted else []
    return "   " + "; ".join(said)
