#!/usr/bin/env bash
# Holds what `tollhouse policy lint --output sarif` writes about every document of tests/data/lint, together and each by
# itself, against the JSON schema of SARIF 2.1.0 (OASIS), which a package of its editors carries.
# Needs npm and the Python environment of tests/setup.sh. TOLLHOUSE_BINARY names the program.
set -euo pipefail
cd "$(dirname "$0")/.."

tollhouse=${TOLLHOUSE_BINARY:-target/release/tollhouse}
package=@microsoft/jest-sarif@1.0.0-beta.0
checksum=748e2c3d1a842e7bb258416685c7ea3a0da40005b72267b2052c2856d48ad102
cache=.cache/sarif

command -v npm >/dev/null || { echo "sarif.sh: npm is not installed" >&2; exit 1; }
mkdir -p "$cache"
if [[ ! -e $cache/package.tgz ]]; then
    packed=$(npm pack --silent --pack-destination "$cache" "$package")
    mv "$cache/$packed" "$cache/package.tgz"
fi
sha256sum --quiet --check <<<"$checksum  $cache/package.tgz"
tar -xzf "$cache/package.tgz" -C "$cache" package/lib/schemas/sarif-2.1.0-rtm.5.json

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Exit code 1 says that there are errors among the findings, which these documents are for.
report() { "$tollhouse" policy lint --output sarif "${@:2}" >"$scratch/$1.sarif" || [[ $? -eq 1 ]]; }
report all tests/data/lint
for document in tests/data/lint/*.yaml; do report "$(basename "$document")" "$document"; done
# Nothing is found in nothing.
mkdir "$scratch/empty"
report empty "$scratch/empty"

.cache/venv/bin/python - "$cache/package/lib/schemas/sarif-2.1.0-rtm.5.json" "$scratch"/*.sarif <<'PY'
import json, sys
from jsonschema import validators

def read(path):
    with open(path) as file:
        return json.load(file)

schema, *reports = sys.argv[1:]
schema = read(schema)
kind = validators.validator_for(schema)
kind.check_schema(schema)
validator = kind(schema, format_checker=kind.FORMAT_CHECKER)
# A schema that lets everything pass would prove nothing.
assert not validator.is_valid({"version": "2.1.0", "runs": [{"results": []}]})
results = 0
for report in map(read, reports):
    validator.validate(report)
    [run] = report["runs"]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert all(result["ruleId"] in rules for result in run["results"])
    results += len(run["results"])
assert results > 20
print(f"{len(reports)} reports with {results} results are valid")
PY
