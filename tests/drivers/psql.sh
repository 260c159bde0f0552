#!/usr/bin/env bash
# A session of psql.
# Usage: psql.sh HOST PORT [DATABASE [USER]]; prints `ok psql PART` for each, ends with 1 at the first failure.
set -euo pipefail

export PGHOST=$1 PGPORT=$2 PGDATABASE=${3:-demo} PGUSER=${4:-dbt_runner} PGPASSWORD=unused PGCONNECT_TIMEOUT=10
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Rows without decoration, so that they can be compared.
psql=(psql --no-psqlrc --quiet --no-align --tuples-only)

fail() { printf 'FAILED %s\n' "$*" >&2; exit 1; }

expect() {
    local name=$1 expected=$2 actual=$3
    [[ $actual == "$expected" ]] || fail "$(printf '%s: expected\n%s\ngot\n%s' "$name" "$expected" "$actual")"
    printf 'ok psql %s\n' "$name"
}

# \gdesc sends Parse and Describe, so both protocols are used.
prepared_statements() {
    expect "prepared statements" $'7\n9\nn|integer' "$("${psql[@]}" --set=ON_ERROR_STOP=1 <<'SQL'
prepare add_two(integer) as select $1 + 2;
execute add_two(5);
execute add_two(7);
deallocate add_two;
select 1 as n \gdesc
SQL
    )"
}

copy_in_and_out() {
    seq 1 20000 | sed 's/$/\tline/' >"$scratch/in"
    "${psql[@]}" --set=ON_ERROR_STOP=1 <<'SQL'
set client_min_messages = warning;
create schema if not exists drivers;
drop table if exists drivers.psql_copy;
create table drivers.psql_copy (id integer, note text);
\copy drivers.psql_copy from pstdin
1	one
2	\N
\.
SQL
    "${psql[@]}" --set=ON_ERROR_STOP=1 --command="\\copy drivers.psql_copy from '$scratch/in'"
    expect "copy in" "20002|1" "$("${psql[@]}" --command="select count(*), count(*) filter (where note is null) from drivers.psql_copy")"
    "${psql[@]}" --command="\\copy (select id, note from drivers.psql_copy where note = 'line' order by id) to '$scratch/out'"
    cmp "$scratch/in" "$scratch/out" || fail "copy out: the rows came back changed"
    "${psql[@]}" --command="drop table drivers.psql_copy"
    printf 'ok psql copy out\n'
}

# psql turns SIGINT into a CancelRequest on a second connection; reading from a file, it then ends.
cancel() {
    local started=$SECONDS session
    "${psql[@]}" >"$scratch/cancel" 2>&1 <<'SQL' &
\set VERBOSITY sqlstate
\! echo running
select pg_sleep(30);
SQL
    session=$!
    for _ in $(seq 100); do
        ! grep -q running "$scratch/cancel" || break
        sleep 0.05
    done
    sleep 0.5
    kill -INT "$session"
    wait "$session" || true
    [[ $((SECONDS - started)) -lt 15 ]] || fail "cancel: the query ran to its end"
    expect "cancel" $'running\nCancel request sent\nERROR:  57014' "$(cat "$scratch/cancel")"
}

# A refusal is an error like any other: the transaction fails, a savepoint brings it back.
error_in_a_transaction() {
    local name=$1 sqlstate=$2 statement=$3
    expect "$name" "ERROR:  $sqlstate"$'\nERROR:  25P02\n3' "$("${psql[@]}" 2>&1 <<SQL
\\set VERBOSITY sqlstate
begin;
savepoint before;
$statement;
select 2;
rollback to savepoint before;
select 3;
commit;
SQL
    )"
}

# With FETCH_COUNT psql declares a cursor and fetches from it.
cursor() {
    expect "cursor" 10000 "$("${psql[@]}" --variable=FETCH_COUNT=1000 --command="select generate_series(1, 10000)" | sort -u | wc -l)"
}

large_result() {
    expect "large result" 100000 "$("${psql[@]}" --command="select n, repeat('x', 100) from generate_series(1, 100000) as n" | wc -l)"
}

# psql 15 has no parameters: a text of 5 MB.
large_statement() {
    expect "large statement" 5000000 "$({ printf "select length('"; head -c 5000000 /dev/zero | tr '\0' x; printf "');\n"; } | "${psql[@]}")"
}

prepared_statements
cursor
copy_in_and_out
cancel
error_in_a_transaction "error in a transaction" 22012 "select 1 / 0"
error_in_a_transaction "refusal" 42501 "select * from finance.salaries"
large_result
large_statement
