#!/usr/bin/env python3
"""Holds deploy/grafana/tollhouse.json and the rules against what the program exports: dashboard.py DASHBOARD [PROMETHEUS-URL]

Without an address: every metric that a query names stands in docs/METRICS.md. With that of a Prometheus which has scraped a
sidecar: every query is asked there, and has to be answered with at least one number; those of the webhook may be empty.
"""

import json
import math
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

# Only where a webhook runs.
WEBHOOK = ("tollhouse_webhook_", "tollhouse_injections_")
METRIC = re.compile(r"\btollhouse_[a-z0-9_]+")
SERIES = re.compile(r"_(bucket|sum|count)$")
GRAFANA = {"$__rate_interval": "5m", "$namespace": ".*", "$pod": ".*"}


def queries(dashboard):
    """Every query of the panels, with the panel's title."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def documented():
    with open("docs/METRICS.md", encoding="utf-8") as file:
        return set(re.findall(r"^\| `(tollhouse_\w+)`", file.read(), re.MULTILINE))


def unknown(expression, known):
    """The metrics of an expression that the program does not have."""
    found = METRIC.findall(expression)
    return [name for name in found if name not in known and SERIES.sub("", name) not in known]


def ask(prometheus, expression):
    """The numbers that Prometheus answers with now."""
    for variable, value in GRAFANA.items():
        expression = expression.replace(variable, value)
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query?{query}", timeout=5) as answer:
        return [float(series["value"][1]) for series in json.load(answer)["data"]["result"]]


def problem(expression, prometheus):
    """What is wrong with a query; nothing if it is answered."""
    try:
        numbers = ask(prometheus, expression)
    except urllib.error.HTTPError as error:
        return f"not understood: {json.load(error)['error']}"
    if any(math.isfinite(number) for number in numbers):
        return None
    if any(name.startswith(WEBHOOK) for name in METRIC.findall(expression)):
        return None
    return f"answered with {numbers or 'nothing'}"


def main(path, prometheus=None):
    with open(path, encoding="utf-8") as file:
        asked = list(queries(json.load(file)))
    known = documented()
    with open("deploy/prometheus/rules.yaml", encoding="utf-8") as file:
        rules = file.read()
    found = [f"{title}: {name} is no metric of ours" for title, query in asked + [("rules.yaml", rules)] for name in unknown(query, known)]
    if prometheus:
        found += [f"{title}: {wrong}: {query}" for title, query in asked if (wrong := problem(query, prometheus))]
    for sentence in found:
        print(sentence, file=sys.stderr)
    print(f"{len(asked)} queries")
    return 1 if found or not asked else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
