#!/usr/bin/env python3
"""Holds PostgreSQL's statement log against the audit log: crash_evidence.py STATEMENTS.csv AUDIT_DIRECTORY.

Every statement that the server logged for a client of the proxy must have an attempt record with the digest of its text,
and a text that ran n times at least n of them. Exits with 1 after naming the statements without one.
"""

import collections
import csv
import hashlib
import re
import sys

from audit_records import records

# Columns of PostgreSQL's csvlog (PostgreSQL docs, "Using CSV-Format Log Output").
CLIENT, MESSAGE = 4, 13
STATEMENT = re.compile(r"(?:statement|execute [^:]*): (.*)", re.DOTALL)


def ran(path):
    """How often each text ran for clients that came over the network, by the SHA-256 of the text."""
    csv.field_size_limit(1 << 30)
    texts = collections.Counter()
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            found = STATEMENT.fullmatch(row[MESSAGE])
            if found and not row[CLIENT].startswith("[local]"):
                texts[found[1]] += 1
    return texts


def attempted(directory):
    """How often each digest was attempted."""
    attempts = (record for record in records(directory) if record["kind"] == "attempt")
    return collections.Counter(attempt["sql"]["digest"].rpartition(":")[2] for attempt in attempts)


def main(statements, directory):
    texts, digests = ran(statements), attempted(directory)
    if not texts:
        sys.exit("the server logged no statement at all: nothing was tested")
    missing = []
    for text, times in texts.items():
        recorded = digests[hashlib.sha256(text.encode()).hexdigest()]
        if recorded < times:
            missing.append(f"ran {times} times, attempted {recorded} times: {text[:200]!r}")
    for line in missing:
        print(line, file=sys.stderr)
    if missing:
        return 1
    print(f"ok {texts.total()} statements in the server's log, each with its attempt among {digests.total()}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
