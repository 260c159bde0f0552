#!/usr/bin/env bash
# SPIRE's server and agent: an agent that a join token admits, a workload that it knows by its user id, SVIDs that live a minute. The
# JWT-SVID is shown to a PostgreSQL where the trust domain's keys judge it; the X.509-SVID is a client certificate for one that trusts
# the domain's authority. Both are renewed while the sidecar runs, and withdrawn.
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

# The workload is whoever runs as this user. SPIRE makes the first DNS name the certificate's common name, which PostgreSQL compares.
register_workload() {
    entry=$(server entry create -parentID spiffe://beds.example/agent -spiffeID "$workload" -selector "unix:uid:$(id -u)" \
        -dns by_certificate -output json | jq --raw-output '.results[0].entry.id')
}

# The domain's keys for tokens, where the judge fetches them: as the bundle has them.
publish_keys() {
    mkdir "$BED_DIR/public"
    server bundle show -format spiffe | jq '{keys: [.keys[] | select(.use == "jwt-svid") | .use = "sig"]}' >"$BED_DIR/public/keys.json"
    keys_port=$(free_port)
    start_other keys python3 -m http.server --bind 127.0.0.1 --directory "$BED_DIR/public" "$keys_port"
    wait_for "the keys" "${others[-1]}" curl --silent --fail --output /dev/null "http://127.0.0.1:$keys_port/keys.json"
}

# Longer than an SVID lives: what logs in now was issued since.
is_renewed() {
    sleep 65
    logs_in_as "$TOLLHOUSE_PORT" by_token
    logs_in_as "$X509_PORT" by_certificate
}

# The agent hears of it within seconds; then there is no identity, whatever still lives.
withdraw_workload() {
    server entry delete -entryID "$entry"
    local _
    for _ in $(seq 60); do
        ! agent api fetch x509 >/dev/null 2>&1 || { sleep 0.5; continue; }
        return 0
    done
    echo "the agent still gives the identity"
    return 1
}

stage_open
export BED_DIR=$scratch/bed
mkdir -m 0700 "$BED_DIR" "$BED_DIR/spire-server" "$BED_DIR/spire-agent"
start_dev
start_warehouse
start_spire
register_workload
publish_keys
cat "$BED_DIR/bundle.pem" >>"$scratch/warehouse/tls/client-ca.crt"
start_judge https://spire.beds.example "http://127.0.0.1:$keys_port/keys.json" warehouse '{"by_token": {"sub": "'"$workload"'"}}'
judge_logins "$judge_port" by_token
administrator --command="create role by_certificate login"
sed 's/namespace: demo //' tests/identity/policy.yaml >"$BED_DIR/policy.yaml"

X509_PORT=$(free_port)
export X509_PORT TOLLHOUSE_CONFIG=tests/identity/spire.yaml
start_sidecar
check jwt-svid logs_in_as "$TOLLHOUSE_PORT" by_token
check x509-svid logs_in_as "$X509_PORT" by_certificate
check renewed is_renewed
check entry-deleted withdraw_workload
check withdrawn-jwt refused_with "$TOLLHOUSE_PORT" "Reason identity-"
check withdrawn-x509 refused_with "$X509_PORT" "Reason identity-"
stop_sidecar
check record audited ".role == \"by_token\" and .principal.subject == \"$workload\""
check record-of-the-certificate audited ".role == \"by_certificate\" and .principal.subject == \"$workload\""
conclude
