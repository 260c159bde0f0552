#!/usr/bin/env bash
# oidc-provider, a certified OpenID provider: the pod's token exchanged (RFC 8693) with a client secret, and client_credentials with
# a key of the client's own (RFC 7523), with a TLS certificate (RFC 8705) and a token that is bound to it, and the pod's token as the
# grant itself (RFC 7523), each shown to a PostgreSQL where the provider's published keys judge it.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/setup.sh oidc-provider
source tests/identity/bed.sh

# client_certificate NAME: a key, and a certificate of the clients' authority for it.
client_certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$BED_DIR/$1.key" -out "$BED_DIR/$1.csr" 2>/dev/null
    openssl x509 -req -in "$BED_DIR/$1.csr" -CA "$BED_DIR/clients.crt" -CAkey "$BED_DIR/clients.key" -days 2 \
        -extfile <(echo extendedKeyUsage=clientAuth) -out "$BED_DIR/$1.crt" 2>/dev/null
}

make_certificates() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=clients" -days 2 -keyout "$BED_DIR/clients.key" \
        -out "$BED_DIR/clients.crt" 2>/dev/null
    client_certificate sidecar-tls
    client_certificate somebody-else
    # What a token is bound to (RFC 8705, section 3.1).
    thumbprint=$(openssl x509 -in "$BED_DIR/sidecar-tls.crt" -outform DER | openssl dgst -sha256 -binary | basenc --base64url | tr -d =)
}

start_provider() {
    local port
    port=$(free_port)
    export PROVIDER_URL=https://localhost:$port BED_DIR=$scratch/bed
    mkdir -m 0700 "$BED_DIR"
    openssl rand -hex 24 | tr -d '\n' >"$BED_DIR/client-secret"
    make_certificates
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$BED_DIR/client.key"
    # Beside its packages, where Node.js looks for them.
    cp tests/identity/oidc-provider/provider.mjs .cache/oidc-provider/
    NODE_EXTRA_CA_CERTS=$TOLLHOUSE_DEV_DIR/ca.crt SIDECAR_SECRET=$(<"$BED_DIR/client-secret") start_other oidc-provider \
        node .cache/oidc-provider/provider.mjs "$port" "$TOLLHOUSE_DEV_DIR/server/server.crt" "$TOLLHOUSE_DEV_DIR/server/server.key" \
        "$TOLLHOUSE_DEV_URL/kubernetes" "$BED_DIR/client.key" "$BED_DIR/clients.crt" "$scratch/provider-ready"
    wait_for oidc-provider "${others[-1]}" test -e "$scratch/provider-ready"
}

stage_open
start_dev
start_warehouse
start_provider
pod=system:serviceaccount:demo:dbt-runner
start_judge "$PROVIDER_URL" "$PROVIDER_URL/jwks" urn:warehouse \
    '{"exchanged": {"sub": "'"$pod"'", "act": {"sub": "sidecar"}}, "by-key": {"client_id": "sidecar-key"},
      "by-certificate": {"client_id": "sidecar-tls", "cnf": {"x5t#S256": "'"$thumbprint"'"}}, "granted": {"sub": "'"$pod"'"}}'
judge_logins "$judge_port" exchanged by-key by-certificate granted

BY_KEY_PORT=$(free_port) ELSEWHERE_PORT=$(free_port) BY_CERTIFICATE_PORT=$(free_port) GRANTED_PORT=$(free_port)
export BY_KEY_PORT ELSEWHERE_PORT BY_CERTIFICATE_PORT GRANTED_PORT TOLLHOUSE_CONFIG=tests/identity/oidc-provider.yaml
start_sidecar
check exchange logs_in_as "$TOLLHOUSE_PORT" exchanged
check exchanged-subject logged oidc-provider "exchanged for sidecar: $pod"
check private-key-jwt logs_in_as "$BY_KEY_PORT" by-key
check tls-client-auth logs_in_as "$BY_CERTIFICATE_PORT" by-certificate
check certificate-shown logged oidc-provider "certificate shown: CN=sidecar-tls"
check jwt-bearer logs_in_as "$GRANTED_PORT" granted
check granted-subject logged oidc-provider "granted to sidecar: $pod"
check unknown-audience refused_with "$ELSEWHERE_PORT" "the endpoint gives no token for the \`audience\`"
stop_sidecar

cp "$BED_DIR/client-secret" "$scratch/right-secret"
openssl rand -hex 24 | tr -d '\n' >"$BED_DIR/client-secret"
mv "$BED_DIR/somebody-else.crt" "$BED_DIR/sidecar-tls.crt"
mv "$BED_DIR/somebody-else.key" "$BED_DIR/sidecar-tls.key"
start_sidecar
check wrong-certificate refused_with "$BY_CERTIFICATE_PORT" "Reason exchange-refused"
check wrong-certificate-shown logged oidc-provider "certificate shown: CN=somebody-else"
check wrong-secret refused_with "$TOLLHOUSE_PORT" "Reason exchange-refused"
check wrong-secret-heard logged oidc-provider "refused: invalid_client"
stop_sidecar

check record audited ".role == \"exchanged\" and .principal.subject == \"$pod\" and .target.name == \"exchanged\""
check record-by-key audited '.role == "by-key" and .target.name == "by-key"'
check record-by-certificate audited '.role == "by-certificate" and .target.name == "by-certificate"'
check record-of-the-grant audited ".role == \"granted\" and .principal.subject == \"$pod\""
check secrets secret_nowhere "$BED_DIR/client-secret" "$scratch/right-secret" "$BED_DIR"/*.key "$TOLLHOUSE_DEV_DIR/token/token"
conclude
