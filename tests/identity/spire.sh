#!/usr/bin/env bash
# SPIRE's server and agent: an agent that a join token admits, a workload that it knows by its user id, and JWT-SVIDs that live half a
# minute. A helper keeps the newest in a file, as spiffe-helper does. It is shown to a PostgreSQL where the trust domain's keys judge
# it, renewed while the sidecar runs, and withdrawn.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/setup.sh spire
source tests/identity/bed.sh

workload=spiffe://beds.example/ns/demo/sa/dbt-runner

server() { .cache/spire/spire-server "$@" -socketPath "$BED_DIR/spire-server.sock"; }
agent() { .cache/spire/spire-agent "$@" -socketPath "$BED_DIR/agent.sock"; }

start_spire() {
    local token
    SPIRE_PORT=$(free_port)
    export SPIRE_PORT
    start_other spire-server .cache/spire/spire-server run -config tests/identity/spire/server.conf -expandEnv
    wait_for spire-server "${others[-1]}" server healthcheck >"$scratch/health.out"
    server bundle show >"$BED_DIR/bundle.pem"
    token=$(server token generate -spiffeID spiffe://beds.example/agent -output json | jq --raw-output .value)
    start_other spire-agent .cache/spire/spire-agent run -config tests/identity/spire/agent.conf -expandEnv -joinToken "$token"
    wait_for spire-agent "${others[-1]}" agent healthcheck >"$scratch/health.out"
}

# The workload is whoever runs as this user.
register_workload() {
    entry=$(server entry create -parentID spiffe://beds.example/agent -spiffeID "$workload" -selector "unix:uid:$(id -u)" -output json |
        jq --raw-output '.results[0].entry.id')
}

# Puts the newest SVID where the sidecar reads it, in one step, every five seconds.
keep_svid() {
    while true; do
        if agent api fetch jwt -audience warehouse -output json >"$BED_DIR/svid.json"; then
            jq --raw-output '[.[].svids // empty][0][0].svid' "$BED_DIR/svid.json" >"$BED_DIR/svid.new"
            mv "$BED_DIR/svid.new" "$BED_DIR/svid"
        fi
        sleep 5
    done
}

# The domain's keys for tokens, as its bundle has them.
publish_keys() {
    local port
    port=$(free_port)
    export KEYS_URL=http://127.0.0.1:$port/keys.json
    mkdir "$BED_DIR/public"
    server bundle show -format spiffe | jq '{keys: [.keys[] | select(.use == "jwt-svid") | .use = "sig"]}' >"$BED_DIR/public/keys.json"
    start_other keys python3 -m http.server --bind 127.0.0.1 --directory "$BED_DIR/public" "$port"
    wait_for "the keys" "${others[-1]}" curl --silent --fail --output /dev/null "$KEYS_URL"
}

# Longer than an SVID lives: what logs in now was issued since.
is_renewed() {
    sleep 35
    logs_in_as "$TOLLHOUSE_PORT" by_token
}

# Without its entry the workload has no identity once its last SVID has ended.
is_withdrawn() {
    server entry delete -entryID "$entry"
    sleep 50
    refused_with "$TOLLHOUSE_PORT" "Reason token-expired"
}

stage_open
export BED_DIR=$scratch/bed
mkdir -m 0700 "$BED_DIR" "$BED_DIR/spire-server" "$BED_DIR/spire-agent"
start_dev
start_warehouse
start_spire
register_workload
start_other helper keep_svid
wait_for "the first SVID" "${others[-1]}" test -s "$BED_DIR/svid"
publish_keys
start_judge https://spire.beds.example "$KEYS_URL" warehouse '{"by_token": {"sub": "'"$workload"'"}}'
judge_logins "$judge_port" by_token
# A SPIFFE ID has no namespace in Kubernetes' sense, so the policy is the cluster's.
sed -e 's/, namespace: demo//' -e 's/kind: WarehousePolicy/kind: ClusterWarehousePolicy/' tests/identity/policy.yaml >"$BED_DIR/policy.yaml"

export TOLLHOUSE_CONFIG=tests/identity/spire.yaml
start_sidecar
check jwt-svid logs_in_as "$TOLLHOUSE_PORT" by_token
check svid-renewed is_renewed
check entry-deleted is_withdrawn
stop_sidecar
check record audited ".role == \"by_token\" and .principal.subject == \"$workload\""
check secrets secret_nowhere "$BED_DIR/svid"
conclude
