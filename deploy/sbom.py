#!/usr/bin/env python3
"""Prints what the program is made of, as CycloneDX 1.5 (JSON), from Cargo.lock and what cargo says about it.

The same sources and SOURCE_DATE_EPOCH give the same document. What only the build needs is marked `excluded`, as CycloneDX
calls what is not in the product, procedural macros among it; what only tests need is left out.
"""

import datetime
import json
import os
import subprocess
import sys
import tomllib
import uuid

TARGET = "x86_64-unknown-linux-gnu"


def cargo_metadata():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", os.environ.get("TARGET", TARGET)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def checksums():
    """The digest of each crate's archive, by name and version."""
    with open("Cargo.lock", "rb") as file:
        lock = file.read()
    packages = tomllib.loads(lock.decode())["package"]
    return lock, {(package["name"], package["version"]): package.get("checksum") for package in packages}


def is_macro(package):
    """A procedural macro runs in the compiler: it writes code for the program and is not in it."""
    return any("proc-macro" in target["kind"] for target in package["targets"])


def reach(packages, nodes, root):
    """What the program holds, and what only its build needs, as two sets of package ids; and what each needs."""
    product, build, needs = set(), set(), {}
    waiting = [(root, product)]
    while waiting:
        node, found = waiting.pop()
        if node in product or node in found:
            continue
        found.add(node)
        below = needs.setdefault(node, set())
        for dependency in nodes[node]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]} & {None, "build"}
            if kinds:
                below.add(dependency["pkg"])
                runs = None in kinds and not is_macro(packages[dependency["pkg"]])
                waiting.append((dependency["pkg"], found if runs else build))
    return product, build - product, needs


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksum, scope):
    described = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "scope": scope,
        "purl": purl(package),
    }
    if checksum:
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["license"]:
        # Older crates write `MIT/Apache-2.0`, which is no SPDX expression.
        described["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    return described


def document(metadata, lock, sums):
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    product, build, needs = reach(packages, nodes, root)

    def sorted_packages(ids):
        return sorted((packages[id] for id in ids), key=lambda package: (package["name"], package["version"]))

    def describe(package, scope):
        return component(package, sums.get((package["name"], package["version"])), scope)

    time = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.UTC)
    program = describe(packages[root], "required") | {"type": "application"}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, lock.decode())}",
        "version": 1,
        "metadata": {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"), "component": program},
        "components": [
            describe(package, scope)
            for ids, scope in ((product - {root}, "required"), (build, "excluded"))
            for package in sorted_packages(ids)
        ],
        "dependencies": [
            {"ref": purl(packages[id]), "dependsOn": [purl(package) for package in sorted_packages(needs[id])]}
            for id in sorted(product | build)
        ],
    }


if __name__ == "__main__":
    json.dump(document(cargo_metadata(), *checksums()), sys.stdout, indent=1)
    print()
