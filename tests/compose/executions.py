#!/usr/bin/env python3
"""Holds the executions that `tollhouse audit tail --format json` printed against what dbt did in deploy/docker-compose.yaml."""

import json
import sys

PRINCIPAL = "system:serviceaccount:demo:dbt-runner"


def problems(executions):
    """Yields one sentence for everything that is not as it should be."""
    denied = [execution for execution in executions if execution["status"] == "denied"]
    nodes = {execution["dbt"] for execution in executions if execution["dbt"] and execution not in denied}
    if len(nodes) < 10:
        yield f"only {len(nodes)} of dbt's nodes stand in the log: {sorted(nodes)}"
    for execution in executions:
        if execution["principal"] != PRINCIPAL:
            yield f"an execution has the principal {execution['principal']}"
        if execution["status"] not in {"completed", "denied"}:
            yield f"an execution is {execution['status']}: {execution}"
    if [execution["tables"] for execution in denied] != [["demo.finance.salaries"]]:
        yield f"not only finance.salaries was refused: {denied}"


def main(path):
    with open(path, encoding="utf-8") as file:
        executions = [json.loads(line) for line in file]
    found = list(problems(executions))
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"{len(executions)} executions")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
