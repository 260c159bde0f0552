#!/usr/bin/env python3
"""Compares the node results of dbt runs: compare.py EXPECTED ACTUAL, each a run_results.json.

Exits with 0 when both ran the same nodes with the same status and every node succeeded; otherwise says what differs.
"""

import json
import sys

SUCCEEDED = {"success", "pass"}


def statuses(path):
    """The status of every node of one run, by the node's unique id."""
    with open(path, encoding="utf-8") as file:
        results = json.load(file)["results"]
    return {result["unique_id"]: result["status"] for result in results}


def problems(expected, actual):
    """Yields one sentence for everything that is not as it should be."""
    if not expected:
        yield "the run to compare with has no nodes"
    for node in sorted(expected.keys() | actual.keys()):
        before, after = expected.get(node, "not run"), actual.get(node, "not run")
        if before != after:
            yield f"{node}: expected {before}, got {after}"
        elif after not in SUCCEEDED:
            yield f"{node}: {after}"


def main(expected_path, actual_path):
    expected, actual = statuses(expected_path), statuses(actual_path)
    found = list(problems(expected, actual))
    for problem in found:
        print(problem, file=sys.stderr)
    if found:
        return 1
    print(f"{len(actual)} nodes, all with the expected result")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
