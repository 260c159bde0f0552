#!/usr/bin/env python3
"""The records of an audit log, for suites that look at more of it than the program prints: audit_records.py AUDIT_DIRECTORY.

Reads the records' JSON out of the files, whatever frames stand around it, and prints them as one JSON array. Proves nothing.
"""

import json
import pathlib
import re
import sys


def records(directory):
    """Each record of the log, in the order of its files. One that a crash tore is left out."""
    decoder = json.JSONDecoder()
    for path in sorted(pathlib.Path(directory).rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        for start in re.finditer(rb'\{"seq":', content):
            end = content.find(b"\n", start.start())
            record = content[start.start() : end if end > 0 else len(content)]
            try:
                yield decoder.raw_decode(record.decode("utf-8", errors="replace"))[0]
            except ValueError:
                continue  # `audit verify` judges whether it may be.


if __name__ == "__main__":
    json.dump(list(records(*sys.argv[1:])), sys.stdout)
