#!/usr/bin/env bash
# psql, psycopg2 and psycopg 3 each run a session through the sidecar.
# Usage: tests/drivers.sh; TOLLHOUSE_BINARY names the program. Ends with `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/.."
export TOLLHOUSE_POLICY=tests/data/drivers-policy.yaml
source deploy/demo/stage.sh

passed=0 failed=0

# A driver's session; it prints a line for each of its parts, and a failure does not keep the others from running.
session() {
    local out=$scratch/$1.out
    shift
    if timeout 120 "$@" "$TOLLHOUSE_HOST" "$TOLLHOUSE_PORT" >"$out" 2>&1; then
        cat "$out"
    else
        cat "$out" >&2
        printf 'FAILED: %s\n' "$*" >&2
        failed=$((failed + 1))
    fi
    passed=$((passed + $(grep -c '^ok ' "$out" || true)))
}

stage_open
start_dev
start_warehouse
start_sidecar
session psql tests/drivers/psql.sh
session psycopg2 "$venv/bin/python" tests/drivers/psycopg2_session.py
session psycopg3 "$venv/bin/python" tests/drivers/psycopg3_session.py
stop_sidecar
verify_audit >"$scratch/verify.out"
expect_no_secrets
printf 'drivers: %d passed, %d failed\n' "$passed" "$failed"
[[ $failed -eq 0 ]]
