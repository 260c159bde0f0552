#!/usr/bin/env bash
# A dbt build that takes longer than its credentials live: certificates of three seconds, a model that takes six, and models before
# and behind it. Nobody is refused, each session logs in with a certificate that is valid then, and the session of the slow model
# goes on past the end of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/setup.sh
source tests/identity/bed.sh

# The demo's project, with a slow model in the middle.
make_project() {
    cp -r deploy/demo/dbt "$DBT_PROJECT"
    echo "select count(*) as rows_slept from (select pg_sleep(6) from {{ ref('stg_orders') }} limit 1) as slept" \
        >"$DBT_PROJECT/models/marts/slow.sql"
    echo "select rows_slept from {{ ref('slow') }}" >"$DBT_PROJECT/models/marts/behind_slow.sql"
}

# Each part is a filter over all records of the log, as jq has them.
recorded() {
    verify_audit >/dev/null
    tests/audit_records.py "$TOLLHOUSE_AUDIT_DIRECTORY" >"$scratch/records.json"
    jq --exit-status "$1" "$scratch/records.json" || {
        echo "not so: $1"
        jq --compact-output '.[] | [.kind, .time, .session, .credential, .expires_at]' "$scratch/records.json"
        return 1
    }
}

stage_open
export DBT_PROJECT=$scratch/project TOLLHOUSE_CONFIG=$scratch/short-lived.yaml TOLLHOUSE_POLICY=$scratch/policy.yaml
# What dbt does is not what this is about.
sed 's/sql: .*/sql: [{}] }/' tests/identity/policy.yaml >"$TOLLHOUSE_POLICY"
sed 's/lifetime: 5m/lifetime: 3s/' config/dev.yaml >"$TOLLHOUSE_CONFIG"
grep --quiet 'lifetime: 3s' "$TOLLHOUSE_CONFIG" || fail "config/dev.yaml sets no lifetime that can be shortened"
make_project
start_dev
start_warehouse
start_sidecar
check build dbt_run proxied build build
stop_sidecar

# Names of jq's, not of the shell's.
# shellcheck disable=SC2016
with_ends='([.[] | select(.kind == "credential-exchanged") | {(.credential): .expires_at}] | add) as $ends'
# shellcheck disable=SC2016
with_credentials='([.[] | select(.kind == "session") | {(.session): .credential}] | add) as $credentials'
check nobody-refused recorded 'all(.[]; .kind != "session-refused")'
check several-credentials recorded "$with_ends | \$ends | length >= 3"
check each-valid-at-its-login recorded "$with_ends | $with_credentials
    | all(.[] | select(.kind == \"session-started\"); .time < \$ends[\$credentials[.session]])"
check a-session-past-its-credential recorded "$with_ends | $with_credentials
    | any(.[] | select(.kind == \"attempt\"); .time > \$ends[\$credentials[.session]])"
conclude
