#!/usr/bin/env bash
# Keycloak: the pod's token as the assertion of a client (RFC 7523, by an identity provider that is the cluster's issuer), the token
# that this gives exchanged for one of the warehouse (RFC 8693), and a client with a key of its own. Each is shown to a PostgreSQL
# where the realm's published keys judge it.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/setup.sh keycloak
source tests/identity/bed.sh

start_keycloak() {
    KEY_CERTIFICATE=$(grep --invert-match -e '-----' "$BED_DIR/client.crt" | tr -d '\n') SIDECAR_SECRET=$(<"$BED_DIR/client-secret") \
        CLUSTER_ISSUER=$TOLLHOUSE_DEV_URL/kubernetes JAVA_OPTS_APPEND='-Xmx512m -XX:TieredStopAtLevel=1' start_other keycloak \
        .cache/keycloak/home/bin/kc.sh start --optimized --import-realm --http-host=127.0.0.1 --https-port="$keycloak_port" \
        --hostname="https://localhost:$keycloak_port" --cache=local --truststore-paths="$TOLLHOUSE_DEV_DIR/ca.crt" \
        --https-certificate-file="$TOLLHOUSE_DEV_DIR/server/server.crt" --https-certificate-key-file="$TOLLHOUSE_DEV_DIR/server/server.key"
    PATIENCE=120 wait_for Keycloak "${others[-1]}" keycloak_answers
}

keycloak_answers() {
    curl --silent --fail --output /dev/null --max-time 2 --cacert "$TOLLHOUSE_DEV_DIR/ca.crt" "$KEYCLOAK_REALM/.well-known/openid-configuration"
}

stage_open
keycloak_port=$(free_port)
export KEYCLOAK_REALM=https://localhost:$keycloak_port/realms/warehouse BED_DIR=$scratch/bed
# The realm is whom the assertion is for.
TOLLHOUSE_AUDIENCE=$KEYCLOAK_REALM start_dev
start_warehouse
mkdir -m 0700 "$BED_DIR"
openssl rand -hex 24 | tr -d '\n' >"$BED_DIR/client-secret"
openssl req -x509 -newkey rsa:2048 -noenc -keyout "$BED_DIR/client.key" -out "$BED_DIR/client.crt" -days 1 -subj /CN=key 2>"$scratch/openssl.log"
start_keycloak
start_judge "$KEYCLOAK_REALM" "$KEYCLOAK_REALM/protocol/openid-connect/certs" warehouse '{"exchanged": {"azp": "sidecar"}, "by-key": {"azp": "key"}}'
judge_logins "$judge_port" exchanged by-key

BY_KEY_PORT=$(free_port) DIRECT_PORT=$(free_port)
export BY_KEY_PORT DIRECT_PORT TOLLHOUSE_CONFIG=tests/identity/keycloak.yaml
start_sidecar
check federated-client-and-exchange logs_in_as "$TOLLHOUSE_PORT" exchanged
check whose-token logged judge '"preferred_username": "service-account-pod"'
check private-key-jwt logs_in_as "$BY_KEY_PORT" by-key
check foreign-token-not-exchanged refused_with "$DIRECT_PORT" "credential[0] token_exchange"
stop_sidecar
check record audited '.role == "exchanged" and .principal.subject == "system:serviceaccount:demo:dbt-runner"'
check record-by-key audited '.role == "by-key" and .target.name == "by-key"'
check secrets secret_nowhere "$BED_DIR/client-secret" "$BED_DIR/client.key" "$TOLLHOUSE_DEV_DIR/token/token"
conclude
