#!/usr/bin/env bash
# Real drivers each run a session through the sidecar, and the audit log is held against what they did.
#
# Usage: tests/drivers.sh [DRIVER...]    those named; `all` is every one, without any it is those of the gate
#        DIRECT=1 tests/drivers.sh ...   the same sessions without the sidecar: whose fault is a failure?
#
# TOLLHOUSE_BINARY names the program. Ends with `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/.."
export TOLLHOUSE_POLICY=tests/data/drivers-policy.yaml
source deploy/demo/stage.sh

# Those with `-tls` are the same sessions behind TLS, with the sidecar verified.
gate=(psql psql-tls psycopg2 psycopg3 psycopg3-tls asyncpg node)
all=("${gate[@]}" sqlalchemy adbc redshift pgx jdbc tokio-postgres)
drivers_venv=.cache/drivers-venv
passed=0 failed=0 ran=()

# session DRIVER COMMAND...: it prints a line for each of its parts, and a failure does not keep the others from running.
session() {
    local driver=$1 out=$scratch/$1.out
    shift
    ran+=("$driver")
    if timeout 120 "$@" "${place[@]}" >"$out" 2>&1; then
        sed "s/^ok [^ ]*/ok $driver/" "$out"
    else
        cat "$out" >&2
        printf 'FAILED: %s\n' "$*" >&2
        failed=$((failed + 1))
    fi
    passed=$((passed + $(grep -c '^ok ' "$out" || true)))
}

# encrypted DRIVER COMMAND...: a session at the listener that insists on TLS, by the settings that libpq takes from its environment.
# Its newest version asks for protocol 3.2, and is told that the server behind the sidecar has 3.0.
encrypted() {
    local place=(localhost "$encrypted_port")
    session "$1" env PGSSLMODE=verify-full PGSSLROOTCERT="$TOLLHOUSE_DEV_DIR/ca.crt" PGMAXPROTOCOLVERSION=3.2 "${@:2}"
}

# as_redshift DRIVER COMMAND...: a session at the listener whose target is said to be a Redshift.
as_redshift() {
    # Without the sidecar there is one place alone.
    [[ -n ${DIRECT:-} ]] || local place=(127.0.0.1 "$redshift_port")
    session "$@"
}

# Two more listeners of the sidecar: for clients with TLS, and for Redshift's, where the same PostgreSQL stands in for it as a
# target of that kind.
add_listeners() {
    encrypted_port=$(free_port) redshift_port=$(free_port)
    export TOLLHOUSE_CONFIG=$scratch/sidecar.yaml
    local files="{ certificate: \"$TOLLHOUSE_DEV_DIR/server/server.crt\", key: \"$TOLLHOUSE_DEV_DIR/server/server.key\" }"
    local listener="  - { name: encrypted, address: \"127.0.0.1:$encrypted_port\", target: warehouse, tls: { mode: require, identity: $files } }"
    listener+="\n  - { address: \"127.0.0.1:$redshift_port\", target: redshift }"
    sed -n '/^  - name: warehouse$/,/^$/p' config/dev.yaml | sed 's/name: warehouse$/name: redshift/; s/kind: postgresql/kind: redshift/' >"$scratch/redshift.yaml"
    sed -e "/^targets:/r $scratch/redshift.yaml" -e "s|^targets:|$listener\n\n&|" config/dev.yaml >"$TOLLHOUSE_CONFIG"
}

# skip DRIVER WHY
skip() {
    local driver kept=()
    for driver in "${drivers[@]}"; do
        if [[ $driver == "$1" ]]; then printf 'SKIPPED %s: %s\n' "$1" "$2" >&2; else kept+=("$driver"); fi
    done
    drivers=("${kept[@]}")
}

run() {
    case $1 in
        psql) session psql tests/drivers/psql.sh ;;
        psql-tls) encrypted psql-tls tests/drivers/psql.sh ;;
        psycopg3-tls) encrypted psycopg3-tls "$venv/bin/python" tests/drivers/psycopg3_session.py ;;
        psycopg2 | psycopg3 | asyncpg) session "$1" "$venv/bin/python" "tests/drivers/$1_session.py" ;;
        redshift) as_redshift redshift "$drivers_venv/bin/python" tests/drivers/redshift_session.py ;;
        sqlalchemy | adbc) session "$1" "$drivers_venv/bin/python" "tests/drivers/$1_session.py" ;;
        node) session node env NODE_PATH=.cache/node/node_modules node tests/drivers/node/session.js ;;
        pgx) session pgx .cache/go/session ;;
        jdbc) session jdbc java -cp .cache/java/postgresql.jar tests/drivers/java/Session.java ;;
        tokio-postgres) session tokio-postgres target/debug/examples/tokio_postgres_session ;;
        *) fail "no driver is called $1; there are: ${all[*]}" ;;
    esac
}

# Where there is no policy, PostgreSQL itself refuses the table that the policy denies.
withhold_salaries() {
    psql --no-psqlrc --quiet --host="$WAREHOUSE_SOCKET" --port="$WAREHOUSE_PORT" --username=postgres --dbname=demo_direct <<'SQL'
create schema finance;
create table finance.salaries (employee text not null, amount_cents bigint not null);
grant usage on schema finance to dbt_runner;
SQL
}

# The records of what ran; each line of the evidence is a test of its own.
hold_against_audit() {
    local out=$scratch/evidence.out
    verify_audit >"$scratch/verify.out"
    "$tollhouse" audit tail --directory "$TOLLHOUSE_AUDIT_DIRECTORY" --format json --lines 1000000 >"$scratch/executions.jsonl"
    "$venv/bin/python" tests/drivers/evidence.py "$scratch/executions.jsonl" "${ran[@]}" >"$out" || failed=$((failed + 1))
    cat "$out"
    passed=$((passed + $(grep -c '^ok ' "$out" || true)))
    # What was refused never reached the server: its own log would name it.
    if grep '"127.0.0.1:' "$scratch/warehouse/log/statements.csv" | grep --quiet 'finance[.]salaries'; then
        fail "a refused statement reached PostgreSQL"
    fi
}

drivers=("$@")
case "$*" in
    '')
        drivers=("${gate[@]}")
        command -v node >/dev/null || skip node "Node.js is not installed; make test-drivers insists on it"
        ;;
    all) drivers=("${all[@]}") ;;
esac
stage_open
start_dev
start_warehouse
if [[ -n ${DIRECT:-} ]]; then
    skip jdbc "it cannot connect to a Unix socket, which the direct way is"
    for driver in psql-tls psycopg3-tls; do skip "$driver" "a Unix socket has no TLS"; done
    withhold_salaries
    place=("$WAREHOUSE_SOCKET" "$WAREHOUSE_PORT" demo_direct)
else
    add_listeners
    start_sidecar
    place=("$TOLLHOUSE_HOST" "$TOLLHOUSE_PORT")
fi
for driver in "${drivers[@]}"; do
    run "$driver"
done
if [[ -n $sidecar_pid ]]; then
    stop_sidecar
    hold_against_audit
    expect_no_secrets
fi
printf 'drivers: %d passed, %d failed\n' "$passed" "$failed"
[[ $failed -eq 0 ]]
