#!/usr/bin/env python3
"""Counts instructions per operation with callgrind and holds them against benches/counts.txt.

Each operation runs twice, with different numbers of repetitions: the difference is what the repetitions cost, without
the set-up. UPDATE=1 writes the file anew. Usage: count.py PROGRAM
"""

import os
import re
import subprocess
import sys
from pathlib import Path

EXPECTED = Path(__file__).resolve().parent / "counts.txt"
# Share by which a count may differ. The same program counts the same to a fraction of this; another compiler may not.
TOLERANCE = 0.05
# Operation, and the two numbers of repetitions: whole rounds of the corpus where it is run (504 statements).
OPERATIONS = {
    "analysis-cold": (504, 1008),
    "analysis-cached": (504, 5544),
    "decision-1": (100, 1100),
    "decision-100": (100, 1100),
    "decision-1000": (10, 60),
    "decision-exact-10000": (100, 1100),
    "admission": (100, 600),
}


def instructions(program, operation, times):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, operation, str(times)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not found:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return int(found[1])


def count(program, operation):
    few, many = OPERATIONS[operation]
    return (instructions(program, operation, many) - instructions(program, operation, few)) / (many - few)


def expected():
    lines = EXPECTED.read_text().splitlines() if EXPECTED.exists() else []
    return {operation: int(number) for operation, number in (line.split() for line in lines if line and not line.startswith("#"))}


def main():
    (program,) = sys.argv[1:]
    known, counted, off = expected(), {}, []
    for operation in OPERATIONS:
        counted[operation] = round(count(program, operation))
        change = counted[operation] / known[operation] - 1 if operation in known else None
        print(f"{operation:16} {counted[operation]:12,} instructions  {'new' if change is None else f'{change:+.1%}'}", flush=True)
        if change is None or abs(change) > TOLERANCE:
            off.append(operation)
    if os.environ.get("UPDATE"):
        head = "# Instructions per operation, release build on x86-64; `UPDATE=1 make bench-count` writes this file.\n"
        EXPECTED.write_text(head + "".join(f"{operation} {number}\n" for operation, number in counted.items()))
    elif off:
        sys.exit(f"more than {TOLERANCE:.0%} off benches/counts.txt: {', '.join(off)}; where that is meant, UPDATE=1 make bench-count")


if __name__ == "__main__":
    main()
