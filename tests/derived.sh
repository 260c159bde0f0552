#!/usr/bin/env bash
# Runs what dbt can be asked for under a policy that was derived from the project alone: every kind of model that
# dbt-postgres builds, again and from nothing, batches of hours to years, snapshots, seeds, stored failures, hooks and grants.
# Then the project changes: `derive --check` shows what, the sidecar refuses it, and takes it once policy and manifest are new.
# The project is the demo's with tests/data/derived laid over it.
set -euo pipefail
cd "$(dirname "$0")/.."
source deploy/demo/stage.sh

# What `tollhouse policy derive` is told, whether it writes or checks.
derive() {
    "$tollhouse" policy derive --manifest "$scratch/image/manifest.json" --name dbt-runner --namespace demo \
        --selector io.cilium.k8s.policy.serviceaccount=dbt-runner --host localhost --target proxied --verified "$@"
}

standings() {
    curl --silent --fail --max-time 5 "http://127.0.0.1:$TOLLHOUSE_ADMIN_PORT/metrics" |
        sed -n 's/^tollhouse_dbt_statements_total{mismatch="\(.*\)",standing="\(.*\)"} \(.*\)/\3 \2 \1/p'
}

# Every statement so far of a node was verified.
expect_all_verified() {
    local found
    found=$(standings)
    grep -q ' verified ' <<<"$found" || fail "no statement was verified"
    ! grep -q ' mismatch ' <<<"$found" || fail "a statement of dbt's does not fit its node: $found"
}

# How many manifests were in force since the start.
manifests_are() { [[ $(grep -c 'a dbt manifest is in force' "$scratch/sidecar.log") -eq $1 ]]; }

stage_open
start_dev
start_warehouse
psql --no-psqlrc --quiet --host="$WAREHOUSE_SOCKET" --port="$WAREHOUSE_PORT" --username=postgres --dbname=demo --command='create role reporter'

export DBT_PROJECT=$scratch/project
cp -r deploy/demo/dbt "$DBT_PROJECT"
cp -r tests/data/derived/. "$DBT_PROJECT"
printf '\non-run-start: ["select 1"]\non-run-end: ["select 2"]\n' >>"$DBT_PROJECT/dbt_project.yml"
dbt_run image image compile

export TOLLHOUSE_POLICY=$scratch/policy.yaml TOLLHOUSE_CONFIG=$scratch/tollhouse.yaml
derive --output "$TOLLHOUSE_POLICY"
derive --check "$TOLLHOUSE_POLICY" || fail "the same manifest gives another policy"
cp config/dev.yaml "$TOLLHOUSE_CONFIG"
printf '\ndbt:\n  manifest: %s\n' "$scratch/image/manifest.json" >>"$TOLLHOUSE_CONFIG"
start_sidecar

run() { dbt_run proxied run "$@"; }
batches=(--event-time-start 2024-02-28T22:00:00 --event-time-end 2024-02-29T03:00:00)
run build "${batches[@]}"
run build "${batches[@]}"
run build --full-refresh "${batches[@]}"
run run --select events_by_day events_by_month events_by_year --event-time-start 2024-02-01 --event-time-end 2024-04-01
run run --select totals_merged totals_appended --vars '{wider: true}'
run seed
run seed --full-refresh
# That dropped the views on the seeds.
run run "${batches[@]}"
run snapshot
run snapshot
# Failures are stored where the manifest says so. The flag is a wish of one run, of which no manifest knows, and is refused.
run test
run docs generate
expect_all_verified

# The project changes, and its image is built anew, elsewhere.
printf 'select amount, (select count(*) from {{ ref("stg_customers") }}) as customers from {{ ref("events") }}\n' \
    >"$DBT_PROJECT/models/totals_new.sql"
sed -i 's/^from {{ ref(.stg_customers.) }} as customers/&\ncross join {{ ref("events") }}/' "$DBT_PROJECT/models/marts/customer_orders.sql"
dbt_run image next compile
if (DBT_PROJECT=$scratch/project dbt_run proxied changed run --select customer_orders) >"$scratch/changed.said" 2>&1; then
    fail "a model of another manifest was built"
fi
grep -q 'does not depend on demo.analytics.events' "$scratch/changed.out" || fail "the refusal does not name the missing dependency"
cp "$scratch/next/manifest.json" "$scratch/image/manifest.json.new"
mv "$scratch/image/manifest.json.new" "$scratch/image/manifest.json"
if derive --check "$TOLLHOUSE_POLICY" >"$scratch/drift" 2>&1; then
    fail "--check finds no drift"
fi
for line in '+.*model.tollhouse_demo.totals_new' '+.*demo.analytics.events' ; do
    grep -q "^$line" "$scratch/drift" || fail "the difference does not show $line: $(cat "$scratch/drift")"
done
derive --output "$scratch/policy.new"
mv "$scratch/policy.new" "$TOLLHOUSE_POLICY"

# Both are taken while the sidecar runs.
wait_for "the new policy" "$sidecar_pid" grep -q 'new policies are in force' "$scratch/sidecar.log"
wait_for "the new manifest" "$sidecar_pid" manifests_are 2
run run --select customer_orders totals_new
stop_sidecar
verify_audit
printf '\nderived: passed\n'
