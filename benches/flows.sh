#!/usr/bin/env bash
# The flows of `make bench`: the same work straight to PostgreSQL, through Tollhouse, and through PgBouncer, HAProxy and
# Envoy, all in front of the same server and in turns. benches/README.md says what each flow is.
# Usage: [BENCH_SECONDS=10] [BENCH_ROUNDS=7] [BENCH_ROWS=10000000] [BENCH_FLOWS="point tls"] benches/flows.sh
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/sbin
source deploy/demo/stage.sh

rows=${BENCH_ROWS:-10000000}
export WAREHOUSE_BIN=$PWD/.cache/bench/postgresql/bin

as_administrator() {
    "$WAREHOUSE_BIN/psql" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --host="$WAREHOUSE_SOCKET" --port="$WAREHOUSE_PORT" --username=postgres "$@"
}

# A client certificate of an authority of the bench's own: peers and the direct way have nobody who issues them one.
# The certificate of the proxies towards clients is the server's: it is for localhost, and clients trust its authority.
make_certificates() {
    mkdir -m 0755 "$BENCH_TLS"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=Bench NOT FOR PRODUCTION' \
        -keyout "$BENCH_TLS/bench-ca.key" -out "$BENCH_TLS/bench-ca.crt" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=dbt_runner' \
        -keyout "$BENCH_TLS/client.key" -out "$BENCH_TLS/client.csr" 2>/dev/null
    openssl x509 -req -in "$BENCH_TLS/client.csr" -CA "$BENCH_TLS/bench-ca.crt" -CAkey "$BENCH_TLS/bench-ca.key" -CAcreateserial \
        -days 2 -out "$BENCH_TLS/client.crt" 2>/dev/null
    cp "$TOLLHOUSE_DEV_DIR/ca.crt" "$BENCH_TLS/server-ca.crt"
    cp "$TOLLHOUSE_DEV_DIR/warehouse/server.crt" "$BENCH_TLS/proxy.crt"
    cp "$TOLLHOUSE_DEV_DIR/warehouse/server.key" "$BENCH_TLS/proxy.key"
    cat "$BENCH_TLS/client.crt" "$BENCH_TLS/client.key" >"$BENCH_TLS/client.pem"
    cat "$BENCH_TLS/proxy.crt" "$BENCH_TLS/proxy.key" >"$BENCH_TLS/proxy.pem"
    chmod 0600 "$BENCH_TLS"/*
    # PgBouncer runs as nobody, and wants its key files for its owner alone.
    if [[ $EUID -eq 0 ]]; then chown nobody "$BENCH_TLS"/{client,proxy}.{crt,key} "$BENCH_TLS/server-ca.crt"; fi
}

# Nothing the server writes is measured: it logs nothing here. And it lets the bench's role in without TLS and without
# a password, so that a comparison without TLS can be made; this server holds nothing and lives as long as the run.
tune_warehouse() {
    local data=$scratch/warehouse/data
    cat >>"$data/postgresql.auto.conf" <<'CONF'
log_statement = 'none'
log_connections = off
max_connections = 200
shared_buffers = '512MB'
max_wal_size = '4GB'
autovacuum = off
CONF
    cat >>"$data/pg_hba.conf" <<'HBA'
hostnossl  all  dbt_runner  127.0.0.1/32  trust
hostnossl  all  dbt_runner  ::1/128       trust
HBA
    cat "$BENCH_TLS/bench-ca.crt" >>"$scratch/warehouse/tls/client-ca.crt"
    deploy/demo/warehouse.sh restart "$scratch/warehouse"
}

fill_warehouse() {
    as_administrator --dbname=postgres --command='create database bench owner dbt_runner'
    as_administrator --dbname=bench --command='grant all on schema public to dbt_runner'
    local by_socket=(--host="$WAREHOUSE_SOCKET" --port="$WAREHOUSE_PORT" --username=dbt_runner)
    "$WAREHOUSE_BIN/pgbench" "${by_socket[@]}" --initialize --quiet --scale=10 bench 2>/dev/null
    "$WAREHOUSE_BIN/psql" "${by_socket[@]}" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname=bench --set=rows="$rows" <<'SQL'
create unlogged table bulk as select i as id, md5(i::text) as note from generate_series(1, :rows::bigint) i;
create unlogged table bulk_loaded (like bulk);
vacuum analyze bulk;
SQL
}

[[ -x .cache/bench/envoy && -x $WAREHOUSE_BIN/postgres ]] || fail "the peers are not installed; run benches/setup.sh"
stage_open
export BENCH_SCRATCH=$scratch/bench BENCH_TLS=$scratch/tls BENCH_POSTGRESQL=$WAREHOUSE_BIN BENCH_BINARY=$tollhouse
export BENCH_PGBOUNCER BENCH_HAPROXY BENCH_NGINX BENCH_ENVOY=$PWD/.cache/bench/envoy BENCH_DBT=$PWD/$venv/bin/dbt SERVER_PORT=$WAREHOUSE_PORT
BENCH_PGBOUNCER=$(command -v pgbouncer)
BENCH_HAPROXY=$(command -v haproxy)
BENCH_NGINX=$(command -v nginx)
mkdir -m 0711 "$BENCH_SCRATCH"
start_dev
make_certificates
start_warehouse
tune_warehouse
fill_warehouse
python3 benches/flows.py || { tail -n 20 "$BENCH_SCRATCH"/*.log >&2; fail "a flow could not be measured"; }
for directory in "$BENCH_SCRATCH"/audit-*; do
    "$tollhouse" audit verify --directory "$directory" >"$scratch/verify.out" || fail "an audit log of the run does not verify"
done
