#!/usr/bin/env python3
"""Compares what two dbt runs did: compare.py EXPECTED ACTUAL, both run_results.json or both catalog.json.

Exits with 0 when both have the same nodes with the same result (of a run: its status, which must be a success; of a
catalog: its columns and their types), and with 1 after saying what differs.
"""

import json
import sys

SUCCEEDED = {"success", "pass"}


def read(path):
    """The result of every node, by the node's unique id, and those that failed."""
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    if "results" in document:
        results = {result["unique_id"]: result["status"] for result in document["results"]}
        return results, [node for node, status in results.items() if status not in SUCCEEDED]
    columns = {
        node: ", ".join(f"{name} {column['type']}" for name, column in entry["columns"].items())
        for node, entry in document["nodes"].items()
    }
    return columns, []


def problems(expected, actual, failed):
    """Yields one sentence for everything that is not as it should be."""
    if not expected:
        yield "there are no nodes to compare with"
    for node in sorted(expected.keys() | actual.keys()):
        before, after = expected.get(node, "not there"), actual.get(node, "not there")
        if before != after:
            yield f"{node}: expected {before}, got {after}"
        elif node in failed:
            yield f"{node}: {after}"


def main(expected_path, actual_path):
    (expected, _), (actual, failed) = read(expected_path), read(actual_path)
    found = list(problems(expected, actual, failed))
    for problem in found:
        print(problem, file=sys.stderr)
    if found:
        return 1
    print(f"{len(actual)} nodes, all the same")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
