#!/usr/bin/env bash
# Vault: login with the pod's token (JWT method), a user of a real PostgreSQL for a lease that is kept, renewed and given back, and a
# client certificate that Vault's PKI signs.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/setup.sh vault
source tests/identity/bed.sh

# vault METHOD PATH [JSON]: one call as Vault's administrator.
vault() {
    curl --silent --show-error --fail-with-body --max-time 10 --cacert "$TOLLHOUSE_DEV_DIR/ca.crt" --header "@$scratch/vault-header" \
        --request "$1" "$VAULT_URL/v1/$2" ${3:+--data "$3"}
}

start_vault() {
    local port
    port=$(free_port)
    export VAULT_URL=https://localhost:$port
    start_other vault .cache/vault/server "127.0.0.1:$port" "$TOLLHOUSE_DEV_DIR/server/server.crt" "$TOLLHOUSE_DEV_DIR/server/server.key" \
        "$scratch/root-token"
    wait_for Vault "${others[-1]}" test -s "$scratch/root-token"
    printf 'X-Vault-Token: %s' "$(<"$scratch/root-token")" >"$scratch/vault-header"
    wait_for Vault "${others[-1]}" vault GET sys/health >"$scratch/vault-health.out"
}

# Who may log in, and what they may ask for.
furnish_login() {
    local ca
    ca=$(jq --raw-input --slurp . "$TOLLHOUSE_DEV_DIR/ca.crt")
    vault POST sys/auth/jwt '{"type": "jwt"}'
    vault POST auth/jwt/config "{\"jwks_url\": \"$TOLLHOUSE_DEV_URL/kubernetes/openid/v1/jwks\", \"jwks_ca_pem\": $ca, \"bound_issuer\": \"$TOLLHOUSE_DEV_URL/kubernetes\"}"
    vault PUT sys/policies/acl/dbt '{"policy": "path \"database/creds/dbt\" { capabilities = [\"read\"] }\npath \"pki/sign/dbt\" { capabilities = [\"update\"] }"}'
    local role='"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": ["dbt"], "token_ttl": "10m"'
    vault POST auth/jwt/role/dbt "{$role, \"bound_subject\": \"system:serviceaccount:demo:dbt-runner\"}"
    vault POST auth/jwt/role/other "{$role, \"bound_subject\": \"system:serviceaccount:demo:another\"}"
}

# Users that live twenty seconds, unless their lease is renewed.
furnish_database() {
    local password
    password=$(openssl rand -hex 16)
    administrator --command="create role made_by_vault" --command="create role vault login createrole password '$password'" \
        --command="grant made_by_vault to vault with admin option"
    sed -i -e '1i hostssl all vault,+made_by_vault 127.0.0.1/32 scram-sha-256' "$scratch/warehouse/data/pg_hba.conf"
    administrator --command="select pg_reload_conf()" >/dev/null
    sleep 1
    vault POST sys/mounts/database '{"type": "database"}'
    vault POST database/config/warehouse "{\"plugin_name\": \"postgresql-database-plugin\", \"allowed_roles\": [\"dbt\"], \"username\": \"vault\",
        \"password\": \"$password\", \"connection_url\": \"postgresql://{{username}}:{{password}}@localhost:$WAREHOUSE_PORT/demo?sslmode=verify-full&sslrootcert=$TOLLHOUSE_DEV_DIR/ca.crt\"}"
    vault POST database/roles/dbt '{"db_name": "warehouse", "default_ttl": "20s", "max_ttl": "10m",
        "creation_statements": ["create role \"{{name}}\" login password '"'{{password}}'"' valid until '"'{{expiration}}'"' in role made_by_vault"]}'
}

furnish_pki() {
    vault POST sys/mounts/pki '{"type": "pki"}'
    vault POST pki/root/generate/internal '{"common_name": "Tollhouse NOT FOR PRODUCTION", "ttl": "1h", "key_type": "ec", "key_bits": 256}' |
        jq --raw-output .data.certificate >>"$scratch/warehouse/tls/client-ca.crt"
    vault POST pki/roles/dbt '{"allowed_domains": ["by_certificate"], "allow_bare_domains": true, "enforce_hostnames": false,
        "server_flag": false, "client_flag": true, "key_type": "ec", "key_bits": 256, "max_ttl": "10m"}' >/dev/null
    administrator --command="create role by_certificate login" --command="select pg_reload_conf()" >/dev/null
    sleep 1
}

made_users() { administrator --command="select rolname from pg_roles where rolname like 'v-%' order by 1"; }

# The client is a user that Vault made, and a second connection is the same one.
is_made_user() {
    local first second
    first=$(query "$TOLLHOUSE_PORT" "select current_user")
    second=$(query "$TOLLHOUSE_PORT" "select current_user")
    [[ $first == v-* && $first == "$second" && $(made_users) == "$first" ]] || { echo "got $first and $second; there are: $(made_users)"; return 1; }
}

# While it is used, the user outlives its lease's first life.
lease_is_renewed() {
    local before after _
    before=$(query "$TOLLHOUSE_PORT" "select current_user")
    for _ in $(seq 14); do
        sleep 2
        after=$(query "$TOLLHOUSE_PORT" "select current_user")
    done
    [[ $before == "$after" ]] || { echo "$before became $after; there are: $(made_users)"; return 1; }
}

# What the sidecar held is gone when it has exited.
lease_is_given_back() {
    [[ -z $(made_users) ]] || { echo "still there: $(made_users)"; return 1; }
}

stage_open
TOLLHOUSE_AUDIENCE=vault start_dev
start_warehouse
start_vault
for part in login database pki; do
    "furnish_$part" >"$scratch/furnish-$part.log" 2>&1
done

CERTIFICATE_PORT=$(free_port) OTHER_ROLE_PORT=$(free_port)
export CERTIFICATE_PORT OTHER_ROLE_PORT TOLLHOUSE_CONFIG=tests/identity/vault.yaml
start_sidecar
check database-user is_made_user
check certificate logs_in_as "$CERTIFICATE_PORT" by_certificate
check bound-to-another refused_with "$OTHER_ROLE_PORT" "vault_login"
check lease-renewed lease_is_renewed
stop_sidecar
check lease-given-back lease_is_given_back
check record audited '(.role | startswith("v-")) and .target.name == "database"'
check record-of-the-certificate audited '.role == "by_certificate" and .target.name == "certificate"'
check secrets secret_nowhere "$TOLLHOUSE_DEV_DIR/token/token" "$scratch/root-token"
conclude
