"""The page of plots: how far beyond their targets figures are, and servers beside each other.

A plot is (height, SVG parts); page() puts them below each other."""
import math
import xml.sax.saxutils

from harness.show import show, spread

ROW, LEFT, WIDTH, RIGHT, TOP = 22, 430, 420, 250, 56
BAR = 14  # of a row
GAP = 8  # between loads
MARGIN_MAX = 3.0  # times the target on the axis; what is better ends in an arrow
CURVES_HEIGHT = 300
COLOURS = ("#2f7d4f", "#8a8f98", "#c2802d", "#5b5fa8", "#a8485b", "#3d8fa6")
DASHES = {"p50": "", "p99": "7 4", "p99.9": "2 3"}


def escape(text):
    return xml.sax.saxutils.escape(text)


def text(x, y, content, anchor="start", size=12):
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f"<text {place}>{escape(content)}</text>"


def line(x1, y1, x2, y2, colour="#111", dashes="", width=1):
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {place} stroke="{colour}" stroke-width="{width}"{dashed}/>'


def bar(y, width, colour):
    place = f'x="{LEFT}" y="{y - BAR / 2}" width="{width:.1f}" height="{BAR}"'
    return f'<rect {place} fill="{colour}"/>'


# --- targets --------------------------------------------------------------------------------------


def _target_bar(figure, y):
    judged = figure.judged()
    margins = sorted(figure.margin(judged[key]) for key in ("min", "max"))
    middle = figure.margin(judged["median"])

    def x(margin):
        return LEFT + WIDTH * min(max(margin, 0), MARGIN_MAX) / MARGIN_MAX

    beyond = " \u2192" if middle > MARGIN_MAX else ""
    value = f"{show(judged['median'])} (target {figure.target_text()}){beyond}"
    return [
        text(LEFT - 8, y + 4, f"{figure.key} {figure.name}", "end"),
        bar(y, x(middle) - LEFT, "#2f7d4f" if figure.met() else "#c2452d"),
        line(x(margins[0]), y, x(margins[1]), y),
        text(LEFT + WIDTH + 8, y + 4, value),
    ]


def targets(figures):
    """How far beyond its target each figure is: a bar to the median, a line over all rounds."""
    judged = [figure for figure in figures if figure.target]
    if not judged:
        return 0, []
    height = TOP + ROW * len(judged) + 20
    at = LEFT + WIDTH / MARGIN_MAX
    parts = [text(10, 22, "times as good as the target asks", size=15)]
    parts.append(text(at, TOP - 14, "target", "middle"))
    for i, figure in enumerate(judged):
        parts += _target_bar(figure, TOP + ROW * i)
    parts.append(line(at, TOP - 10, at, height - 16, dashes="3 3"))
    return height, parts


# --- servers beside each other --------------------------------------------------------------------


def _colours(matrix):
    servers = dict.fromkeys(server for _, server, _ in matrix.rows)
    return dict(zip(servers, COLOURS))


def bars(column):
    """A plot of one column: a bar for each row to its median, a line over all rounds.  Bars are as
    long as their share of the longest under the same load, since loads differ by thousands."""

    def draw(matrix):
        colours = _colours(matrix)
        longest = {}
        for under, _, found in matrix.rows:
            longest[under] = max(longest.get(under, 0), *found[column])
        parts = [text(10, 22, f"{matrix.key} {matrix.title}: {matrix.columns[column]}", size=15)]
        y = TOP
        before = matrix.rows[0][0]
        for under, server, found in matrix.rows:
            y += GAP if under != before else 0
            before = under
            values = spread(found[column])
            ends = {key: WIDTH * value / (longest[under] or 1) for key, value in values.items()}
            parts += [
                text(LEFT - 8, y + 4, f"{under}, {server}" if under else server, "end"),
                bar(y, ends["median"], colours[server]),
                line(LEFT + ends["min"], y, LEFT + ends["max"], y),
                text(LEFT + WIDTH + 8, y + 4, show(values["median"])),
            ]
            y += ROW
        return y + 20, parts

    return draw


def _decades(values):
    """The powers of ten around them."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def _ticks(most):
    """From 0 up to `most`, at most six, in steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(most))
    step = next(power * share for share in (0.1, 0.2, 0.5, 1, 2) if power * share * 5 >= most)
    return [step * i for i in range(math.floor(most / step) + 1)]


def curves(rate, percentiles):
    """A plot of latencies over the rate: `percentiles` is {name of DASHES: column}."""

    def draw(matrix):
        colours = _colours(matrix)
        medians = [
            (server, {key: spread(found[key])["median"] for key in (rate, *percentiles.values())})
            for _, server, found in matrix.rows
        ]
        keys = percentiles.values()
        grid = _decades([max(found[key], 1) for _, found in medians for key in keys])
        rate_max = max(found[rate] for _, found in medians)
        bottom = TOP + CURVES_HEIGHT

        def x(value):
            return LEFT + WIDTH * value / rate_max

        def y(value):
            share = math.log10(max(value, 1) / grid[0]) / math.log10(grid[-1] / grid[0])
            return bottom - CURVES_HEIGHT * share

        parts = [text(10, 22, f"{matrix.key} {matrix.title}: latency, us", size=15)]
        for value in grid:
            parts.append(line(LEFT, y(value), LEFT + WIDTH, y(value), "#ddd"))
            parts.append(text(LEFT - 8, y(value) + 4, f"{value:,.0f}", "end"))
        for at in _ticks(rate_max):
            parts.append(text(x(at), bottom + 18, f"{at:,.0f}/s" if at else "0", "middle"))
        for place, (server, colour) in enumerate(colours.items()):
            points = [found for name, found in medians if name == server]
            for name, key in percentiles.items():
                parts += _curve([(x(at[rate]), y(at[key])) for at in points], colour, DASHES[name])
            parts += _legend(place, server, colour, percentiles)
        return bottom + 44, parts

    return draw


def _curve(points, colour, dashes):
    steps = [line(*a, *b, colour, dashes, 2) for a, b in zip(points, points[1:])]
    return steps + [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]


def _legend(place, server, colour, percentiles):
    parts = []
    for row, name in enumerate(percentiles):
        y = TOP + 10 + ROW * (place * len(percentiles) + row)
        at = LEFT + WIDTH + 16
        parts.append(line(at, y, at + 34, y, colour, DASHES[name], 2))
        parts.append(text(at + 42, y + 4, f"{server}, {name}"))
    return parts


# --- the page -------------------------------------------------------------------------------------


def page(figures, matrices, title):
    drawn = [targets(figures), *(matrix.draw(matrix) for matrix in matrices)]
    parts, top = [], 36
    for height, content in drawn:
        parts += [f'<g transform="translate(0 {top})">', *content, "</g>"]
        top += height
    width = LEFT + WIDTH + RIGHT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" '
        'font-family="sans-serif" font-size="12">'
    )
    whole = [head, '<rect width="100%" height="100%" fill="#fff"/>', text(10, 24, title, size=17)]
    return "\n".join([*whole, *parts, "</svg>\n"])
