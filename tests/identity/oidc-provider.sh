#!/usr/bin/env bash
# oidc-provider, a certified OpenID provider: the pod's token exchanged (RFC 8693) with a client secret, and client_credentials with
# a key of the client's own (RFC 7523), each shown to a PostgreSQL where the provider's published keys judge it.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/setup.sh oidc-provider
source tests/identity/bed.sh

start_provider() {
    local port
    port=$(free_port)
    export PROVIDER_URL=https://localhost:$port BED_DIR=$scratch/bed
    mkdir -m 0700 "$BED_DIR"
    openssl rand -hex 24 | tr -d '\n' >"$BED_DIR/client-secret"
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$BED_DIR/client.key"
    # Beside its packages, where Node.js looks for them.
    cp tests/identity/oidc-provider/provider.mjs .cache/oidc-provider/
    NODE_EXTRA_CA_CERTS=$TOLLHOUSE_DEV_DIR/ca.crt SIDECAR_SECRET=$(<"$BED_DIR/client-secret") start_other oidc-provider \
        node .cache/oidc-provider/provider.mjs "$port" "$TOLLHOUSE_DEV_DIR/server/server.crt" "$TOLLHOUSE_DEV_DIR/server/server.key" \
        "$TOLLHOUSE_DEV_URL/kubernetes" "$BED_DIR/client.key" "$scratch/provider-ready"
    wait_for oidc-provider "${others[-1]}" test -e "$scratch/provider-ready"
}

stage_open
start_dev
start_warehouse
start_provider
pod=system:serviceaccount:demo:dbt-runner
start_judge "$PROVIDER_URL" "$PROVIDER_URL/jwks" urn:warehouse \
    '{"exchanged": {"sub": "'"$pod"'", "act": {"sub": "sidecar"}}, "by-key": {"client_id": "sidecar-key"}}'
judge_logins "$judge_port" exchanged by-key

BY_KEY_PORT=$(free_port) ELSEWHERE_PORT=$(free_port)
export BY_KEY_PORT ELSEWHERE_PORT TOLLHOUSE_CONFIG=tests/identity/oidc-provider.yaml
start_sidecar
check exchange logs_in_as "$TOLLHOUSE_PORT" exchanged
check exchanged-subject logged oidc-provider "exchanged for sidecar: $pod"
check private-key-jwt logs_in_as "$BY_KEY_PORT" by-key
check unknown-audience refused_with "$ELSEWHERE_PORT" "the endpoint gives no token for the \`audience\`"
stop_sidecar

cp "$BED_DIR/client-secret" "$scratch/right-secret"
openssl rand -hex 24 | tr -d '\n' >"$BED_DIR/client-secret"
start_sidecar
check wrong-secret refused_with "$TOLLHOUSE_PORT" "Reason exchange-refused"
check wrong-secret-heard logged oidc-provider "refused: invalid_client"
stop_sidecar

check record audited ".role == \"exchanged\" and .principal.subject == \"$pod\" and .target.name == \"exchanged\""
check record-by-key audited '.role == "by-key" and .target.name == "by-key"'
check secrets secret_nowhere "$BED_DIR/client-secret" "$scratch/right-secret" "$BED_DIR/client.key" "$TOLLHOUSE_DEV_DIR/token/token"
conclude
