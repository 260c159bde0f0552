#!/usr/bin/env bash
# The demo under a policy that was derived from the dbt project itself: each node reads what it depends on, writes what is
# its own, and is verified by the manifest. Then one model reads a table that it does not declare.
# Everything runs in a scratch directory that is cleared away.
# Usage: make demo POLICY=derived
set -euo pipefail
cd "$(dirname "$0")/../.."
source deploy/demo/stage.sh

step() { printf '\n[%s/5] %s\n' "$1" "$2"; }

# What `tollhouse policy derive` is told, whether it writes or checks.
derive() {
    "$tollhouse" policy derive --manifest "$scratch/image/manifest.json" --name dbt-runner --namespace demo \
        --selector io.cilium.k8s.policy.serviceaccount=dbt-runner --host localhost --target proxied --verified "$@"
}

# The configuration of the demo, with the manifest that stands for the one in the image.
configure_manifest() {
    export TOLLHOUSE_CONFIG=$scratch/tollhouse.yaml
    cp config/dev.yaml "$TOLLHOUSE_CONFIG"
    printf '\ndbt:\n  manifest: %s\n' "$scratch/image/manifest.json" >>"$TOLLHOUSE_CONFIG"
}

# standings: how many statements were claimed, verified or a mismatch.
standings() {
    curl --silent --fail --max-time 5 "http://127.0.0.1:$TOLLHOUSE_ADMIN_PORT/metrics" |
        sed -n 's/^tollhouse_dbt_statements_total{mismatch="\(.*\)",standing="\(.*\)"} \(.*\)/\3 \2 \1/p'
}

expect_all_verified() {
    local found
    found=$(standings)
    printf '      statements by what dbt says of them: %s\n' "$(paste -sd ',' <<<"$found")"
    grep -q ' verified ' <<<"$found" || fail "no statement was verified"
    ! grep -q ' mismatch ' <<<"$found" || fail "a statement of dbt's does not fit its node"
}

# Runs the changed project, which has to fail; prints the refusal.
expect_refusal() {
    local said node=model.tollhouse_demo.customer_orders
    if (DBT_PROJECT=$scratch/project dbt_run proxied changed run --select customer_orders) >"$scratch/changed.said" 2>&1; then
        fail "dbt built a model that reads what it does not declare"
    fi
    said=$(grep -m 1 'tollhouse:' "$scratch/changed.out") || fail "the refusal does not come from Tollhouse"
    printf '      %s\n' "$said"
    grep -q "$node" <<<"$said" || fail "the refusal does not name the node"
    grep -q 'does not depend on demo.finance.salaries' <<<"$said" || fail "the refusal does not name the missing dependency"
    ! grep -q 'cross join demo.finance.salaries' "$scratch/warehouse/log/statements.csv" || fail "the statement reached the warehouse"
}

stage_open

step 1 "Compile the project, as the build of its image would"
start_dev
start_warehouse
dbt_run image image compile

step 2 "Derive the policy from its manifest"
export TOLLHOUSE_POLICY=$scratch/policy.yaml
derive --output "$TOLLHOUSE_POLICY"
derive --check "$TOLLHOUSE_POLICY" || fail "the same manifest gives another policy"
printf '      %s entries; those of one model:\n' "$(grep -c '^ *- ' "$TOLLHOUSE_POLICY")"
sed -n '/# model.tollhouse_demo.customer_orders:/,/# model.tollhouse_demo.daily_revenue:/p' "$TOLLHOUSE_POLICY" | sed '$d'

step 3 "Run dbt twice and generate its docs, under that policy alone"
configure_manifest
start_sidecar
dbt_run proxied first build
dbt_run proxied second build
dbt_run proxied docs docs generate
expect_all_verified

step 4 "Change a model by hand so that it reads a table that it does not declare"
cp -r deploy/demo/dbt "$scratch/project"
sed -i 's/^from {{ ref(.stg_customers.) }} as customers/&\ncross join demo.finance.salaries/' "$scratch/project/models/marts/customer_orders.sql"
! diff deploy/demo/dbt/models/marts/customer_orders.sql "$scratch/project/models/marts/customer_orders.sql" || fail "the model was not changed"
expect_refusal

step 5 "What was recorded"
"$tollhouse" audit tail --directory "$TOLLHOUSE_AUDIT_DIRECTORY" -n 8 --tables
"$tollhouse" policy derive --from-audit "$TOLLHOUSE_AUDIT_DIRECTORY" --output "$scratch/observed.yaml"
printf '\n      policy derive --from-audit proposes %s entries\n\n' "$(grep -c '^ *- ' "$scratch/observed.yaml")"
verify_audit
expect_no_secrets
stop_sidecar
printf '\nderived demo: 5 passed, 0 failed\n'
