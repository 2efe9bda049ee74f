"""Line charts as SVG, without any library: both axes logarithmic, a panel a workload, a line a storage."""

import csv
from math import ceil, floor, log10

COLOURS = {"memory": "#2a7f62", "redis": "#c0392b", "pg": "#2c5f9e"}
PANEL_WIDTH, PANEL_HEIGHT = 270, 230
LEFT, TOP, GAP, BOTTOM = 62, 58, 44, 46
GRID, INK = "#dddddd", "#333333"


def plot(source, target, title, label):
    """Draws a CSV file of `performance.growth`."""
    with open(source, newline="") as file:
        rows = list(csv.DictReader(file))
    workloads = list(dict.fromkeys(row["workload"] for row in rows))
    low, high = bounds([float(row["rate"]) for row in rows])
    values = sorted({int(row["value"]) for row in rows})
    width = LEFT + len(workloads) * (PANEL_WIDTH + GAP)
    height = TOP + PANEL_HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11" fill="{INK}">',
        '<rect width="100%" height="100%" fill="white"/>',
        text(LEFT, 20, title, "start", 'font-size="14" font-weight="bold"'),
        *legend(list(dict.fromkeys(row["backend"] for row in rows)), width),
    ]
    for place, workload in enumerate(workloads):
        panel = Panel(LEFT + place * (PANEL_WIDTH + GAP), values, low, high)
        parts += panel.frame(workload, label, is_first=place == 0)
        for backend in COLOURS:
            points = [row for row in rows if row["backend"] == backend and row["workload"] == workload]
            parts += panel.line(points, COLOURS[backend])
    parts.append("</svg>\n")
    with open(target, "w") as file:
        file.write("\n".join(parts))


def bounds(rates):
    """The powers of ten around all rates."""
    rates = [rate for rate in rates if rate > 0]
    return floor(log10(min(rates))), ceil(log10(max(rates)))


def legend(backends, width):
    parts, x = [], width - GAP - 80 * len(backends)
    for backend in backends:
        parts.append(f'<rect x="{x}" y="11" width="14" height="4" fill="{COLOURS[backend]}"/>')
        parts.append(text(x + 20, 17, backend, "start"))
        x += 80
    return parts


class Panel:
    """One pair of axes."""

    def __init__(self, left, values, low, high):
        self.left, self.values, self.low, self.high = left, values, low, max(high, low + 1)
        self.first, self.last = log10(values[0]), log10(values[-1])

    def x(self, value):
        span = self.last - self.first or 1
        return round(self.left + PANEL_WIDTH * (log10(value) - self.first) / span, 1)

    def y(self, rate):
        share = (log10(max(rate, 10**self.low)) - self.low) / (self.high - self.low)
        return round(TOP + PANEL_HEIGHT * (1 - share), 1)

    def frame(self, workload, label, is_first):
        middle, bottom = self.left + PANEL_WIDTH / 2, TOP + PANEL_HEIGHT
        parts = [text(middle, TOP - 10, workload, "middle", 'font-weight="bold"')]
        for power in range(self.low, self.high + 1):
            y = self.y(10**power)
            parts.append(f'<path d="M{self.left} {y}h{PANEL_WIDTH}" stroke="{GRID}"/>')
            if is_first:
                parts.append(text(self.left - 6, y + 4, short(10**power), "end"))
        for value in self.values:
            x = self.x(value)
            parts.append(f'<path d="M{x} {bottom}v4" stroke="{INK}"/>')
            parts.append(text(x, bottom + 16, short(value), "middle"))
        parts.append(f'<path d="M{self.left} {TOP}v{PANEL_HEIGHT}h{PANEL_WIDTH}" fill="none" stroke="{INK}"/>')
        parts.append(text(middle, bottom + 34, label, "middle"))
        if is_first:
            turned = f'transform="rotate(-90 14 {TOP + PANEL_HEIGHT / 2})"'
            parts.append(text(14, TOP + PANEL_HEIGHT / 2, "calls a second", "middle", turned))
        return parts

    def line(self, rows, colour):
        if not rows:
            return []
        places = [(self.x(int(row["value"])), self.y(float(row["rate"]))) for row in rows]
        joined = " ".join(f"{x},{y}" for x, y in places)
        dots = [f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>' for x, y in places]
        return [f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="1.8"/>', *dots]


def short(number):
    for size, unit in ((10**6, "M"), (10**3, "k")):
        if number >= size and number % size == 0:
            return f"{number // size}{unit}"
    return str(number)


def text(x, y, words, anchor, more=""):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" {more}>{words}</text>'
