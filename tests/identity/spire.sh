#!/usr/bin/env bash
# SPIRE's server and agent: an agent that a join token admits, a workload that it knows by its user id, SVIDs that live a minute at
# most. The sidecar asks the agent's Workload API. The JWT-SVID is shown to a PostgreSQL where the trust domain's keys judge it; the
# X.509-SVID is a client certificate for the same one, which trusts the domain's authority. Neither is there before the workload is
# registered; both are renewed while the sidecar runs, and withdrawn: the first time with SVIDs that end within the minute, the second
# time with SVIDs that live ten, so that only the agent's stream can have told.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/setup.sh spire
source tests/identity/bed.sh

workload=spiffe://beds.example/ns/demo/sa/dbt-runner

server() { .cache/spire/spire-server "$@" -socketPath "$BED_DIR/spire-server.sock"; }
agent() { .cache/spire/spire-agent "$@" -socketPath "$BED_DIR/agent.sock"; }

start_server() {
    SPIRE_PORT=$(free_port)
    export SPIRE_PORT
    start_other spire-server .cache/spire/spire-server run -config tests/identity/spire/server.conf -expandEnv
    wait_for spire-server "${others[-1]}" server healthcheck >"$scratch/health.out"
    server bundle show >"$BED_DIR/bundle.pem"
}

start_agent() {
    local token
    token=$(server token generate -spiffeID spiffe://beds.example/agent -output json | jq --raw-output .value)
    start_other spire-agent .cache/spire/spire-agent run -config tests/identity/spire/agent.conf -expandEnv -joinToken "$token"
    agent_pid=${others[-1]}
    wait_for spire-agent "$agent_pid" agent healthcheck >"$scratch/health.out"
}

# The domain's keys for tokens, where the judge fetches them: as the bundle has them.
publish_keys() {
    mkdir "$BED_DIR/public"
    server bundle show -format spiffe | jq '{keys: [.keys[] | select(.use == "jwt-svid") | .use = "sig"]}' >"$BED_DIR/public/keys.json"
    keys_port=$(free_port)
    start_other keys python3 -m http.server --bind 127.0.0.1 --directory "$BED_DIR/public" "$keys_port"
    wait_for "the keys" "${others[-1]}" curl --silent --fail --output /dev/null "http://127.0.0.1:$keys_port/keys.json"
}

# register_workload [OPTION...]: the workload is whoever runs as this user. SPIRE makes the first DNS name the certificate's common
# name, which PostgreSQL compares.
# shellcheck disable=SC2120 # `check` passes them on.
register_workload() {
    server entry create -parentID spiffe://beds.example/agent -spiffeID "$workload" -selector "unix:uid:$(id -u)" \
        -dns dbt-runner -output json "$@" >"$BED_DIR/entry.json"
}

forget_workload() { server entry delete -entryID "$(jq --raw-output '.results[0].entry.id' "$BED_DIR/entry.json")"; }

# A client that came before its registration had reached the agent waits, and gets in.
is_waited_for() {
    logs_in_as "$TOLLHOUSE_PORT" by_token &
    local client=$!
    # shellcheck disable=SC2119
    register_workload
    wait "$client"
}

# soon SECONDS COMMAND...: one of ten tries succeeds. The agent may not have heard of a registration yet, and a refusal is repeated
# for a while before anybody is asked again: one that may pass for a second, another for ten.
soon() {
    local pause=$1 _
    shift
    for _ in $(seq 10); do
        ! "$@" || return 0
        sleep "$pause"
    done
    return 1
}

# What the sidecar was given a moment ago: the agent gives the same until half of its life is over.
keep_secrets() {
    mkdir "$BED_DIR/secrets"
    agent api fetch x509 -write "$BED_DIR/secrets" >/dev/null
    agent api fetch jwt -audience warehouse -output json | jq --raw-output '[.[].svids // empty][0][0].svid' >"$BED_DIR/secrets/svid"
}

# Longer than an SVID lives: what logs in now was issued since.
is_renewed() {
    sleep 65
    logs_in_as "$TOLLHOUSE_PORT" by_token
    logs_in_as "$X509_PORT" dbt-runner
}

# Without its entry the workload has no identity. What was proven before serves until the agent has heard of it: for less than a
# minute, whatever the SVID's life.
is_withdrawn() {
    local said
    for _ in $(seq 120); do
        if ! said=$(query "$1" "select 1" 2>&1); then
            [[ $said == *"Reason identity-withdrawn"* ]] || { echo "refused otherwise: $said"; return 1; }
            return 0
        fi
        sleep 0.5
    done
    echo "the client still gets in"
    return 1
}

stage_open
export BED_DIR=$scratch/bed
mkdir -m 0700 "$BED_DIR" "$BED_DIR/spire-server" "$BED_DIR/spire-agent"
start_dev
start_warehouse
start_server
cat "$BED_DIR/bundle.pem" >>"$scratch/warehouse/tls/client-ca.crt"
X509_PORT=$(free_port)
export X509_PORT TOLLHOUSE_CONFIG=tests/identity/spire.yaml
administrator --command='create role "dbt-runner" login'
# A SPIFFE ID has no namespace in Kubernetes' sense, so the policy is the cluster's.
sed -e 's/, namespace: demo//' -e 's/kind: WarehousePolicy/kind: ClusterWarehousePolicy/' tests/identity/policy.yaml >"$BED_DIR/policy.yaml"

start_sidecar
check no-agent refused_with "$TOLLHOUSE_PORT" "Reason workload-api-unreachable"
start_agent
publish_keys
start_judge https://spire.beds.example "http://127.0.0.1:$keys_port/keys.json" warehouse '{"by_token": {"sub": "'"$workload"'"}}'
judge_logins "$judge_port" by_token
check not-registered soon 0.5 refused_with "$X509_PORT" "Reason identity-not-issued"
check registered-meanwhile is_waited_for
check x509-svid soon 2 logs_in_as "$X509_PORT" dbt-runner
keep_secrets
check renewed is_renewed
check rotation-heard logged sidecar "the identity is renewed"
check entry-deleted forget_workload
check withdrawn-x509-svid is_withdrawn "$X509_PORT"
check withdrawn-jwt-svid is_withdrawn "$TOLLHOUSE_PORT"
check registered-again register_workload -x509SVIDTTL 600 -jwtSVIDTTL 600
check x509-svid-again soon 2 logs_in_as "$X509_PORT" dbt-runner
check jwt-svid-again soon 2 logs_in_as "$TOLLHOUSE_PORT" by_token
check entry-deleted-again forget_workload
check withdrawn-x509-svid-of-minutes is_withdrawn "$X509_PORT"
check withdrawn-jwt-svid-of-minutes is_withdrawn "$TOLLHOUSE_PORT"
check withdrawal-heard logged sidecar "the identity is withdrawn, and what was made of it with it"
stop_sidecar
check record audited ".role == \"by_token\" and .principal.subject == \"$workload\""
check record-of-the-certificate audited ".role == \"dbt-runner\" and .principal.subject == \"$workload\""
check secrets secret_nowhere "$BED_DIR/secrets/svid" "$BED_DIR"/secrets/*.key
conclude
