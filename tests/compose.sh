#!/usr/bin/env bash
# deploy/docker-compose.yaml, brought up by a Docker engine of its own: dbt runs to its end, and audit log and metrics are held
# against what it did. Images are Debian stand-ins of the public ones (deploy/local-images.sh). Needs root.
#
# The engine runs in a network namespace of its own: its bridge, its packet filter and its ports are nobody else's. Only the
# images are built in the machine's network, by an engine without a bridge.
# Usage: make test-compose; TOLLHOUSE_BINARY names the program. Ends with `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/.."
source deploy/demo/stage.sh
source tests/engine.sh

file=deploy/docker-compose.yaml

# Compose as a plugin of the client where it is one, else Debian's program.
compose() {
    local program=("$docker" compose)
    "${program[@]}" version >/dev/null 2>&1 || program=(docker-compose)
    "${program[@]}" --file "$file" --project-name tollhouse "$@"
}

# What a service printed, without the name in front.
said() { compose logs --no-color "$1" | sed 's/^[^|]*| //'; }

# How a service's container is: its status and exit code.
state() { "$docker" inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$(compose ps --quiet --all "$1")"; }

# Every service is started when those that it depends on are ready or done; the last one prints the records and ends.
up() {
    compose up --detach --no-build || { compose logs --no-color; return 1; }
    "$docker" wait "$(compose ps --quiet --all audit)"
    compose logs --no-color dbt-direct dbt audit
    [[ $(state audit) == "exited 0" ]]
}

same_results() {
    [[ $(said dbt | grep -c 'proxied and direct: .* all the same') -eq 3 ]]
    said dbt | grep -q 'its profile holds no secret'
}

refusal() { said dbt | grep 'policy-deny-rule\|tollhouse: '; }

no_way_around() { said dbt | grep 'straight to the warehouse: .*requires a valid client certificate'; }

# tollhouse ARGUMENTS...: the program on the audit volume, read-only.
evidence() { compose run --rm --no-deps -T audit audit "$@" --directory /var/lib/tollhouse/audit; }

verifies() { evidence verify; }

# Executions of dbt's nodes, all done and none without a principal; and the one that was refused.
executions() {
    evidence tail --format json --lines 100000 >"$scratch/executions.jsonl"
    python3 tests/compose/executions.py "$scratch/executions.jsonl"
}

# ask QUERY: Prometheus' answer by its HTTP API, from within the engine's network.
ask() { in_engine curl --silent --fail --max-time 5 --get --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query; }

# at_least N QUERY: its only value, within a few scrapes.
at_least() {
    local value
    for _ in $(seq 15); do
        value=$(ask "$2" | jq -r '.data.result[0].value[1] // "nothing"')
        if [[ $value != nothing ]] && jq -en "$value >= $1" >/dev/null; then
            printf '%s = %s\n' "$2" "$value"
            return 0
        fi
        sleep 1
    done
    printf '%s is %s, not at least %s\n' "$2" "$value" "$1"
    return 1
}

metrics() {
    at_least 1 'up{job="tollhouse"}'
    at_least 100 'sum(tollhouse_policy_l7_total{rule="forwarded"})'
    at_least 1 'sum(tollhouse_policy_l7_total{rule="denied"})'
    at_least 1 'sum(tollhouse_refusals_total{reason="policy-deny-rule"})'
    at_least 1 'min(tollhouse_audit_writable)'
    at_least 1 'sum(tollhouse_credential_exchange_total{outcome="ok"})'
}

# The rules are loaded, evaluated without an error, and nothing is wrong with the demo.
rules() {
    in_engine curl --silent --fail --max-time 5 http://127.0.0.1:9090/api/v1/rules >"$scratch/rules.json"
    jq -r '.data.groups[].rules[] | "\(.type) \(.name) \(.health) \(.state // "")"' "$scratch/rules.json"
    [[ $(jq '[.data.groups[].rules[]] | length' "$scratch/rules.json") -ge 8 ]]
    [[ $(jq '[.data.groups[].rules[] | select(.health != "ok")] | length' "$scratch/rules.json") -eq 0 ]]
    [[ $(jq '[.data.groups[].rules[] | select(.state == "firing")] | length' "$scratch/rules.json") -eq 0 ]]
}

dashboard() { in_engine python3 tests/deploy/dashboard.py deploy/grafana/tollhouse.json http://127.0.0.1:9090; }

# The sidecar ends as a pod's does, with everything recorded.
drains() {
    compose stop tollhouse
    [[ $(state tollhouse) == "exited 0" ]]
    evidence verify
}

nothing_left() {
    compose down --volumes
    [[ -z $("$docker" ps --all --quiet) ]]
}

[[ -x $tollhouse ]] || fail "$tollhouse is not built"
install_engine
engine_open
deploy/local-images.sh base
engine_start build
deploy/local-images.sh compose "$tollhouse"
engine_stop
engine_start apart
compose down --volumes >"$scratch/down.log" 2>&1
started=$SECONDS
check up up
printf 'compose: up after %d s\n' "$((SECONDS - started))"
check same-results same_results
check refusal refusal
check no-way-around no_way_around
check audit-verify verifies
check audit-executions executions
check metrics metrics
check rules rules
check dashboard dashboard
check drain drains
check down nothing_left
conclude
