"""Figures, and the forms in which they are kept: JSON, Markdown tables, SVG plots."""
import datetime
import json
import pathlib
import subprocess

from harness import plots
from harness.show import show, show_spread, spread

RESULTS = pathlib.Path(__file__).resolve().parent.parent / "results"


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


class Matrix:
    """Servers side by side: a row for each under each load, and a column for each kind of number.

    `columns` is {key: heading}, `rows` a list of (load, server, what was found in each round), those
    of one load after each other.  `draw` makes a plot of it (harness/plots.py)."""

    def __init__(self, key, title, columns, rows, draw):
        self.key = key
        self.title = title
        self.columns = columns
        self.rows = [(under, server, self._by_key(rounds)) for under, server, rounds in rows]
        self.draw = draw

    def _by_key(self, rounds):
        return {key: [found[key] for found in rounds] for key in (*self.columns, "foreign")}

    def markdown(self, foreign_max):
        lines = ["| | | " + " | ".join(self.columns.values()) + " |"]
        lines += ["|---" * (len(self.columns) + 2) + "|"]
        before = None
        for under, server, found in self.rows:
            disturbed = " (disturbed)" if max(found["foreign"]) > foreign_max else ""
            cells = [under if under != before else "", server + disturbed]
            cells += [show_spread(spread(found[key])) for key in self.columns]
            lines.append("| " + " | ".join(cells) + " |")
            before = under
        return lines

    def as_json(self):
        return {
            "key": self.key,
            "title": self.title,
            "columns": self.columns,
            "rows": [
                {"load": under, "server": server, "found": found, "summary": self._summary(found)}
                for under, server, found in self.rows
            ],
        }

    def _summary(self, found):
        return {key: spread(found[key]) for key in self.columns}


class Report:
    def __init__(self, name, foreign_max):
        self.name = name
        self.foreign_max = foreign_max
        self.figures = []
        self.matrices = []
        self.header = {"name": name, "date": datetime.date.today().isoformat()}
        self.header["revision"] = revision()
        self.details = {}  # only in the JSON
        self.table_is_open = False  # on the terminal

    def add(self, found):
        """Keeps Figures and Matrices, and prints them."""
        figures = [each for each in found if isinstance(each, Figure)]
        matrices = [each for each in found if isinstance(each, Matrix)]
        if figures and not self.table_is_open:
            print("\n" + "\n".join(TABLE_HEAD), flush=True)
        for figure in figures:
            print(self._row(figure), flush=True)
        for matrix in matrices:
            print("\n" + "\n".join(self._section(matrix)), flush=True)
        self.figures += figures
        self.matrices += matrices
        self.table_is_open = not matrices

    def _section(self, matrix):
        return [f"{matrix.key}: {matrix.title}", "", *matrix.markdown(self.foreign_max)]

    def _row(self, figure):
        ratio = figure.ratio()
        reference = figure.beside
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
        if self.figures:
            lines += ["", *TABLE_HEAD, *(self._row(figure) for figure in self.figures)]
        lines.append("")
        for matrix in self.matrices:
            lines += ["## " + self._section(matrix)[0], *self._section(matrix)[1:], ""]
        return "\n".join(lines)

    def save(self):
        """Writes results/<date>-<name>.{json,md,svg} and tells where."""
        RESULTS.mkdir(exist_ok=True)
        base = RESULTS / f"{self.header['date']}-{self.name}"
        content = {**self.header, **self.details}
        content["figures"] = [figure.as_json() for figure in self.figures]
        content["matrices"] = [matrix.as_json() for matrix in self.matrices]
        base.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
        base.with_suffix(".md").write_text(self.markdown())
        title = f"{self.name}, {self.header['date']}"
        base.with_suffix(".svg").write_text(plots.page(self.figures, self.matrices, title))
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
