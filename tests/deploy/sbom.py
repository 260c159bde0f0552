#!/usr/bin/env python3
"""Holds what deploy/sbom.py printed, from standard input, against the schema of CycloneDX 1.5 and against Cargo.lock."""

import json
import sys
import tomllib

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main():
    text = sys.stdin.read()
    error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    if error:
        sys.exit(f"not CycloneDX: {error}")
    document = json.loads(text)
    with open("Cargo.lock", "rb") as file:
        locked = {(package["name"], package["version"]): package.get("checksum") for package in tomllib.load(file)["package"]}
    for component in document["components"]:
        digest = component["hashes"][0]["content"]
        assert locked[(component["name"], component["version"])] == digest, component
    names = {component["name"]: component["scope"] for component in document["components"]}
    # One of each: what runs, what writes code for it, what only tests use.
    assert names["rustls"] == "required" and names["serde_derive"] == "excluded" and "proptest" not in names, names
    references = {component["bom-ref"] for component in document["components"]} | {document["metadata"]["component"]["bom-ref"]}
    assert {dependency["ref"] for dependency in document["dependencies"]} == references
    print(f"{len(document['components'])} components")


main()
