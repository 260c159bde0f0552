"""Writes results.json of a directory as tables (figures.md) and as a plot (figures.svg). Usage: report.py DIRECTORY"""

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

OURS = ("tollhouse-write", "tollhouse-fsync")
COLOURS = {"tollhouse-write": "#1b6ca8", "tollhouse-fsync": "#7fb2d9", "pgbouncer": "#b5651d", "haproxy": "#6a8f3c", "envoy": "#8e5ea2", "nginx": "#4c9a8b"}


class Results:
    """Samples by flow, way and round, and the ratios between ways of the same round."""

    def __init__(self, document):
        self.circumstances, self.flows = document["circumstances"], document["flows"]
        self.samples = defaultdict(lambda: defaultdict(dict))
        for sample in document["samples"]:
            self.samples[sample["flow"]][sample["way"]][sample["round"]] = sample

    def values(self, flow, way, key="value"):
        return [sample[key] for sample in self.samples[flow["name"]][way].values() if sample.get(key) is not None]

    def ratios(self, flow, way, other):
        """How many times as fast (or as small) `way` is as `other`, round by round."""
        mine, theirs = (self.samples[flow["name"]][name] for name in (way, other))
        both = [(mine[number]["value"], theirs[number]["value"]) for number in mine.keys() & theirs.keys()]
        return [a / b if flow["higher"] else b / a for a, b in both if a > 0 and b > 0]


def figure(value):
    """A number with three digits that matter."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def median(values, show=figure):
    return show(statistics.median(values)) if values else ""


def ratio(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})" if values else ""


def table(results, flow):
    name, ways = flow["name"], list(results.samples[flow["name"]])
    ways.sort(key=lambda way: ["direct", *COLOURS].index(way))
    ours = [way for way in OURS if way in ways]
    columns = [flow["unit"], "spread"]
    has = {key: any(results.values(flow, way, key) for way in ways) for key in ("p50_us", "p99_us", "cpu_us", "peak_kib")}
    columns += [title for key, title in (("p50_us", "p50 µs"), ("p99_us", "p99 µs")) if has[key]]
    columns += [f"CPU µs per {flow['operation']}"] if has["cpu_us"] else []
    columns += ["peak MiB"] if has["peak_kib"] else []
    columns += ["of direct"] if "direct" in ways else []
    columns += [f"{way} of this" for way in ours]
    lines = [f"### {flow['title']}", "", f"`{name}`", "", "| way | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for way in ways:
        values = results.values(flow, way)
        cells = [median(values), f"{figure(min(values))}–{figure(max(values))}"]
        cells += [median(results.values(flow, way, key)) for key in ("p50_us", "p99_us", "cpu_us") if has[key]]
        cells += [median([kib / 1024 for kib in results.values(flow, way, "peak_kib")])] if has["peak_kib"] else []
        if "direct" in ways:
            cells.append("" if way == "direct" else ratio(results.ratios(flow, way, "direct")))
        cells += ["" if way == our else ratio(results.ratios(flow, our, way)) for our in ours]
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def heading(results):
    facts = results.circumstances
    versions = ", ".join(facts["versions"].values())
    note = f"**{facts['note']}** " if facts["note"] else ""
    return (
        f"{note}Taken on {facts['taken']}: {facts['cpus']} × {facts['cpu']}, Linux {facts['kernel']}, load {facts['load_before']:.1f} before; "
        f"{facts['rounds']} rounds of {facts['seconds']} s, {facts['rows']:,} rows. {versions}.\n\n"
        "Figures are medians over the rounds, with the lowest and the highest. A ratio is the median of the ratios of each round, again "
        "with the lowest and the highest: above 1 is faster (or smaller). `tollhouse-write of this` says how many times as fast Tollhouse "
        f"at durability `write` is as the way in that row. The stripped binary has {facts['stripped_bytes'] / (1 << 20):.1f} MiB. "
        f"The system's limit of open files allows {facts['idle_connections_max']:,} idle connections.\n"
    )


def plot(results):
    """A row for each flow, a dot for each way at its ratio to direct, a line from its lowest to its highest."""
    flows = [flow for flow in results.flows if results.samples[flow["name"]].get("direct")]
    left, width, step, top = 390, 520, 26, 44
    highest = max((max(results.ratios(flow, way, "direct")) for flow in flows for way in COLOURS if results.ratios(flow, way, "direct")), default=1.2)
    highest = min(max(1.2, highest), 3.0)
    height = top + step * len(flows) + 40

    def x(value):
        return left + width * min(value, highest) / highest

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 30}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{left + width + 30}" height="{height}" fill="white"/>',
    ]
    for position, (way, colour) in enumerate(COLOURS.items()):
        at = left + position * 112
        out.append(f'<circle cx="{at}" cy="16" r="5" fill="{colour}"/><text x="{at + 10}" y="20">{way}</text>')
    for tick in range(int(highest * 5) + 1):
        at, weight = x(tick / 5), 1.5 if tick == 5 else 0.4
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top - 12}" y2="{height - 34}" stroke="#555" stroke-width="{weight}"/>')
        out.append(f'<text x="{at:.1f}" y="{height - 20}" text-anchor="middle">{tick / 5:.1f}</text>')
    out.append(f'<text x="{left + width / 2}" y="{height - 4}" text-anchor="middle">speed, as a share of the same work straight to the server</text>')
    for row, flow in enumerate(flows):
        y = top + step * row + 4
        out.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{flow["title"]}</text>')
        for lane, (way, colour) in enumerate(COLOURS.items()):
            ratios = results.ratios(flow, way, "direct")
            if ratios:
                at = y + (lane - 2) * 3.6
                out.append(f'<line x1="{x(min(ratios)):.1f}" x2="{x(max(ratios)):.1f}" y1="{at}" y2="{at}" stroke="{colour}"/>')
                out.append(f'<circle cx="{x(statistics.median(ratios)):.1f}" cy="{at}" r="3" fill="{colour}"/>')
    return "\n".join([*out, "</svg>"]) + "\n"


def write(directory):
    results = Results(json.loads((directory / "results.json").read_text()))
    tables = [table(results, flow) for flow in results.flows]
    (directory / "figures.md").write_text("# Figures\n\n" + heading(results) + "\n" + "\n".join(tables))
    (directory / "figures.svg").write_text(plot(results))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
