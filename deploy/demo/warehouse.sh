#!/usr/bin/env bash
# A private PostgreSQL cluster that lets nobody in without a client certificate; no password exists in it.
#
#   warehouse.sh start DIR PORT CERTDIR   makes the cluster in DIR (new), starts it, creates the demo's roles
#   warehouse.sh restart DIR              stops it and starts it again, with what its files say now
#   warehouse.sh stop  DIR                stops it; safe to repeat
#
# WAREHOUSE_BIN names the directory of PostgreSQL's programs; the newest of Debian's where absent. WAREHOUSE_ADDRESSES says where
# it listens; loopback where absent.
# CERTDIR holds warehouse/server.crt, warehouse/server.key and client-ca.crt, as `tollhouse dev` writes them.
# The administrator and the demo's direct comparison come in by the Unix socket in DIR/socket, as the operating-system
# user they are (peer). Every statement is in DIR/log/statements.csv.
set -euo pipefail

bin=${WAREHOUSE_BIN:-$( (compgen -G '/usr/lib/postgresql/*/bin' || true) | sort -V | tail -n 1)}
[[ -n $bin ]] || { echo "warehouse: PostgreSQL is not installed; run tests/setup.sh" >&2; exit 1; }

# PostgreSQL refuses to run as root.
if [[ $EUID -eq 0 ]]; then owner=postgres; else owner=$(id -un); fi
as_owner() {
    if [[ $EUID -eq 0 ]]; then (cd / && runuser -u "$owner" -- "$@"); else "$@"; fi
}

configure() {
    local dir=$1 port=$2
    cat >"$dir/data/postgresql.auto.conf" <<CONF
listen_addresses = '${WAREHOUSE_ADDRESSES:-127.0.0.1, ::1}'
port = $port
unix_socket_directories = '$dir/socket'
ssl = on
ssl_cert_file = '$dir/tls/server.crt'
ssl_key_file = '$dir/tls/server.key'
ssl_ca_file = '$dir/tls/client-ca.crt'
ssl_min_protocol_version = 'TLSv1.3'
logging_collector = on
log_destination = 'csvlog'
log_directory = '$dir/log'
log_filename = 'statements.log'
log_file_mode = 0644
log_rotation_age = 0
log_rotation_size = 0
log_statement = 'all'
log_connections = on
# Logical replication, which the tests try, needs it.
wal_level = logical
# Nothing here outlives the run, and no test takes the machine down: the server's own durability is not what is tested.
fsync = off
CONF
    cat >"$dir/data/pg_hba.conf" <<'HBA'
# TYPE   DATABASE  USER        ADDRESS       METHOD
local    all       postgres                  peer map=administrator
local    all       dbt_runner                peer map=direct
hostssl  all          all      all           cert
hostssl  replication  all      all           cert
HBA
    local user
    for user in "$owner" "$(id -un)"; do
        printf 'administrator  %s  postgres\ndirect  %s  dbt_runner\n' "$user" "$user"
    done | sort -u >"$dir/data/pg_ident.conf"
}

lay_out() {
    local dir=$1 certs=$2
    mkdir -p "$dir/socket" "$dir/log" "$dir/tls"
    cp "$certs/warehouse/server.crt" "$certs/warehouse/server.key" "$certs/client-ca.crt" "$dir/tls/"
    chmod 0755 "$dir" "$dir/socket" "$dir/log"
    chmod 0700 "$dir/tls"
    chmod 0600 "$dir/tls/server.key"
    if [[ $EUID -eq 0 ]]; then chown -R "$owner": "$dir"; fi
}

create_roles() {
    local dir=$1 port=$2
    local administrator=(psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --host="$dir/socket" --port="$port" --username=postgres)
    as_owner "${administrator[@]}" --dbname=postgres <<'SQL'
create role dbt_runner login;
create database demo owner dbt_runner;
create database demo_direct owner dbt_runner;
SQL
    # The grant is there on purpose: when the demo is refused this table, Tollhouse's policy alone refused it.
    as_owner "${administrator[@]}" --dbname=demo <<'SQL'
create schema finance;
create table finance.salaries (employee text not null, amount_cents bigint not null);
insert into finance.salaries values ('Ada', 1000000), ('Grace', 1100000);
grant usage on schema finance to dbt_runner;
grant select on finance.salaries to dbt_runner;
SQL
}

start() {
    local dir=$1 port=$2 certs=$3
    lay_out "$dir" "$certs"
    as_owner "$bin/initdb" --pgdata="$dir/data" --username=postgres --auth=reject --encoding=UTF8 --locale=C.UTF-8 --no-sync >"$dir/initdb.log"
    configure "$dir" "$port"
    launch "$dir"
    create_roles "$dir" "$port"
}

launch() {
    local dir=$1
    if ! as_owner "$bin/pg_ctl" --pgdata="$dir/data" --log="$dir/startup.log" --wait --silent start; then
        cat "$dir/startup.log" "$dir/log/"* >&2
        exit 1
    fi
}

stop() {
    local dir=$1
    [[ -f $dir/data/postmaster.pid ]] || return 0
    as_owner "$bin/pg_ctl" --pgdata="$dir/data" --mode=fast --wait --silent stop
}

restart() {
    stop "$1"
    launch "$1"
}

case "${1-} $#" in
    "start 4") start "$(realpath -m "$2")" "$3" "$(realpath "$4")" ;;
    "restart 2") restart "$(realpath -m "$2")" ;;
    "stop 2") stop "$(realpath -m "$2")" ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
