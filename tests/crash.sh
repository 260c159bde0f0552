#!/usr/bin/env bash
# Kills the sidecar with SIGKILL at random moments while dbt builds through it, and starts it again each time. After that
# the audit log verifies, and the warehouse's own statement log holds no statement without an attempt record.
# Usage: tests/crash.sh; CRASHES is how often (default 5), TOLLHOUSE_BINARY the program, RANDOM_SEED repeats a run.
set -euo pipefail
cd "$(dirname "$0")/.."
source deploy/demo/stage.sh

crashes=${CRASHES:-5}
seed=${RANDOM_SEED:-$$}
RANDOM=$seed

# Kills the sidecar somewhere between the first node of a build and its end, which is about 1.5 s later.
crash_once() {
    local moment workload
    "$venv/bin/dbt" build --target proxied --project-dir deploy/demo/dbt --profiles-dir deploy/demo/dbt \
        --target-path "$scratch/crash" --log-path "$scratch/crash" --no-version-check >"$scratch/crash.out" 2>&1 &
    workload=$!
    wait_for "the workload" "$workload" grep -q ' START ' "$scratch/crash.out"
    moment=$((RANDOM % 1500))
    sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
    kill -KILL "$sidecar_pid"
    wait "$sidecar_pid" 2>/dev/null || true
    # The build fails or not, depending on the moment; that is not this test's matter.
    wait "$workload" || true
    start_sidecar
    printf 'ok killed %4d ms after the first node, and started again\n' "$moment"
}

stage_open
echo "seed $seed"
start_dev
start_warehouse
start_sidecar
for _ in $(seq "$crashes"); do
    crash_once
done
# The last one is left in peace: the log goes on after the crashes.
dbt_run proxied last build
stop_sidecar
verify_audit
deploy/demo/warehouse.sh stop "$scratch/warehouse"
"$venv/bin/python" tests/crash_evidence.py "$scratch/warehouse/log/statements.csv" "$TOLLHOUSE_AUDIT_DIRECTORY"
# The comparison itself is not blind: without the records it objects.
mkdir "$scratch/empty"
if "$venv/bin/python" tests/crash_evidence.py "$scratch/warehouse/log/statements.csv" "$scratch/empty" 2>/dev/null; then
    fail "the comparison does not notice that every attempt is missing"
fi
printf 'crash: %d passed, 0 failed\n' "$((crashes + 1))"
