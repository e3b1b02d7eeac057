"""Figures, and the forms in which they are kept: JSON, a Markdown table, an SVG plot."""
import datetime
import json
import pathlib
import statistics
import subprocess
import xml.sax.saxutils

RESULTS = pathlib.Path(__file__).resolve().parent.parent / "results"


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def show(value):
    """Three digits that count; a number of things as it is."""
    if value == 0 or isinstance(value, int):
        return f"{value:,.0f}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f}" if abs(value) >= 0.1 else f"{value:.2g}"


def show_spread(found):
    low, middle, high = (show(found[key]) for key in ("min", "median", "max"))
    return middle if low == high else f"{middle} ({low} - {high})"


# What a target speaks of: how its value follows from ours and the reference, and which way is good.
TARGETS = {
    "ratio >=": (lambda ours, reference: ours / reference if reference else 0.0, True),
    "ratio <=": (lambda ours, reference: ours / reference if reference else 0.0, False),
    "difference <=": (lambda ours, reference: ours - reference, False),
    "<=": (lambda ours, reference: ours, False),
    ">=": (lambda ours, reference: ours, True),
}


class Figure:
    """One number in every round, ours and the reference's of the same round.

    `target` is (kind, value) with a kind of TARGETS, or None: told, not judged."""

    def __init__(self, key, name, unit, ours, reference=None, beside="", target=None, foreign=0.0):
        self.key = key
        self.name = name
        self.unit = unit
        self.ours = ours
        self.reference = reference
        self.beside = beside  # what the reference is
        self.target = target
        self.foreign = foreign  # cores that were busy with other things meanwhile

    def pairs(self):
        return list(zip(self.ours, self.reference or [None] * len(self.ours)))

    def ratio(self):
        """None where there is nothing to divide by."""
        if not self.reference or not all(self.reference):
            return None
        return spread([ours / reference for ours, reference in self.pairs()])

    def judged(self):
        """The value that the target speaks of; None without a target."""
        if not self.target:
            return None
        return spread([TARGETS[self.target[0]][0](*pair) for pair in self.pairs()])

    def met(self):
        if not self.target:
            return None
        kind, limit = self.target
        middle = self.judged()["median"]
        return middle >= limit if TARGETS[kind][1] else middle <= limit

    def margin(self, value):
        """How many times as good as the target asks; at most 10."""
        kind, limit = self.target
        if TARGETS[kind][1]:
            return value / limit
        return min(10.0, limit / value) if value > limit / 10 else 10.0

    def target_text(self):
        if not self.target:
            return ""
        kind, limit = self.target
        unit = "" if kind.startswith("ratio") else f" {self.unit}"
        return f"{kind} {show(limit)}{unit}"

    def as_json(self):
        return {
            "key": self.key,
            "name": self.name,
            "unit": self.unit,
            "ours": self.ours,
            "reference": self.reference,
            "reference_name": self.beside,
            "summary": spread(self.ours),
            "reference_summary": spread(self.reference) if self.reference else None,
            "ratio": self.ratio(),
            "target": self.target_text(),
            "judged": self.judged(),
            "met": self.met(),
            "foreign_cores": round(self.foreign, 3),
        }


class Report:
    def __init__(self, name, foreign_max):
        self.name = name
        self.foreign_max = foreign_max
        self.figures = []
        self.header = {"name": name, "date": datetime.date.today().isoformat()}
        self.header["revision"] = revision()
        self.details = {}  # only in the JSON

    def add(self, figures):
        """Keeps them, and prints them as lines of the table."""
        if not self.figures:
            print("\n" + "\n".join(TABLE_HEAD), flush=True)
        for figure in figures:
            self.figures.append(figure)
            print(self._row(figure), flush=True)

    def _row(self, figure):
        ratio = figure.ratio()
        reference = ""
        if figure.reference:
            reference = f"{show_spread(spread(figure.reference))} ({figure.beside})"
        cells = (
            figure.key,
            figure.name + (" (disturbed)" if figure.foreign > self.foreign_max else ""),
            f"{show_spread(spread(figure.ours))} {figure.unit}",
            reference,
            show_spread(ratio) if ratio else "",
            figure.target_text(),
            {None: "", True: "yes", False: "**no**"}[figure.met()],
        )
        return "| " + " | ".join(cells) + " |"

    def markdown(self):
        lines = [f"# {self.name}, {self.header['date']}", ""]
        lines += [f"- {key}: {json.dumps(value)}" for key, value in self.header.items()]
        lines += ["", "Medians of alternating rounds, with their extremes."]
        lines += ["", *TABLE_HEAD, *(self._row(figure) for figure in self.figures), ""]
        return "\n".join(lines)

    def save(self):
        """Writes results/<date>-<name>.{json,md,svg} and tells where."""
        RESULTS.mkdir(exist_ok=True)
        base = RESULTS / f"{self.header['date']}-{self.name}"
        content = {**self.header, **self.details}
        content["figures"] = [figure.as_json() for figure in self.figures]
        base.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
        base.with_suffix(".md").write_text(self.markdown())
        title = f"{self.name}, {self.header['date']}"
        base.with_suffix(".svg").write_text(plot(self.figures, title))
        missed = sum(figure.met() is False for figure in self.figures)
        judged = sum(figure.met() is not None for figure in self.figures)
        print(f"\n{judged - missed} of {judged} targets met; written: {base}.json, .md, .svg")


TABLE_HEAD = [
    "| | figure | Faasm | reference | ratio | target | met |",
    "|---|---|---|---|---|---|---|",
]


def revision():
    command = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


# --- the plot -------------------------------------------------------------------------------------

ROW, LEFT, WIDTH, RIGHT, TOP = 22, 430, 420, 250, 56
MARGIN_MAX = 3.0  # of the axis; what is better ends in an arrow


def _bar(figure, y):
    judged = figure.judged()
    margins = sorted(figure.margin(judged[key]) for key in ("min", "max"))
    middle = figure.margin(judged["median"])

    def x(margin):
        return LEFT + WIDTH * min(max(margin, 0), MARGIN_MAX) / MARGIN_MAX

    colour = "#2f7d4f" if figure.met() else "#c2452d"
    name = xml.sax.saxutils.escape(f"{figure.key} {figure.name}")
    beyond = " \u2192" if middle > MARGIN_MAX else ""
    value = f"{show(judged['median'])} (target {figure.target_text()}){beyond}"
    value = xml.sax.saxutils.escape(value)
    return (
        f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{name}</text>'
        f'<rect x="{LEFT}" y="{y - 7}" width="{x(middle) - LEFT:.1f}" height="14" fill="{colour}"/>'
        f'<line x1="{x(margins[0]):.1f}" x2="{x(margins[1]):.1f}" y1="{y}" y2="{y}" stroke="#111"/>'
        f'<text x="{LEFT + WIDTH + 8}" y="{y + 4}">{value}</text>'
    )


def plot(figures, title):
    """How far beyond its target each figure is: a bar to the median, a line over all rounds."""
    judged = [figure for figure in figures if figure.target]
    height = TOP + ROW * len(judged) + 20
    at = LEFT + WIDTH / MARGIN_MAX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="10" y="22" font-size="15">{xml.sax.saxutils.escape(title)}: '
        "times as good as the target asks</text>",
        f'<text x="{at}" y="{TOP - 14}" text-anchor="middle">target</text>',
        *(_bar(figure, TOP + ROW * i) for i, figure in enumerate(judged)),
        f'<line x1="{at}" x2="{at}" y1="{TOP - 10}" y2="{height - 16}" stroke="#111" '
        'stroke-dasharray="3 3"/>',
        "</svg>\n",
    ]
    return "\n".join(parts)
