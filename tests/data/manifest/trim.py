#!/usr/bin/env python3
"""Cuts a manifest to what says something about the project's own nodes: trim.py MANIFEST > jaffle.json"""
import json
import sys

manifest = json.load(open(sys.argv[1], encoding="utf-8"))
for key in ["macros", "docs", "parent_map", "child_map", "group_map", "disabled", "exposures", "metrics", "selectors"]:
    manifest[key] = {}
for part in ["nodes", "sources", "unit_tests"]:
    for node in manifest[part].values():
        for key in ["compiled_path", "build_path", "created_at"]:
            node.pop(key, None)
json.dump(manifest, sys.stdout, indent=1, sort_keys=True)
print()
