#!/usr/bin/env bash
# PostgreSQL's own regression suite through the sidecar, with an audit log and a policy that allows everything.
# Usage: tests/regress.sh [full|short]; TOLLHOUSE_BINARY names the program. Ends with `N passed, N failed`.
#
# full runs the suite directly and through the sidecar, on a new server each, and compares them test by test.
# short runs the schedule tests/regress/short through the sidecar only.
# A test that differs is a failure unless tests/regress/differences names it; KEEP=DIR keeps what the runs left there.
set -euo pipefail
cd "$(dirname "$0")/.."
export TOLLHOUSE_ROLE=postgres TOLLHOUSE_CONFIG=tests/regress/tollhouse.yaml TOLLHOUSE_POLICY=tests/regress/policy.yaml
source deploy/demo/stage.sh

# A new warehouse with the superuser and the database of the suite, which is as pg_regress itself would have made it.
start_empty_warehouse() {
    deploy/demo/warehouse.sh stop "$scratch/warehouse"
    rm -rf "$scratch/warehouse"
    start_warehouse
    as_administrator <<'SQL'
create database regression template template0 encoding 'UTF8' locale 'C';
alter database regression set lc_messages to 'C';
alter database regression set lc_monetary to 'C';
alter database regression set lc_numeric to 'C';
alter database regression set lc_time to 'C';
alter database regression set bytea_output to 'hex';
alter database regression set timezone_abbreviations to 'Default';
SQL
}

as_administrator() {
    psql --no-psqlrc --quiet --output=/dev/null --set=ON_ERROR_STOP=1 --host="$WAREHOUSE_SOCKET" --port="$WAREHOUSE_PORT" --username=postgres --dbname=postgres
}

# run WAY HOST PORT: the schedule at that address; leaves the result of each test in $scratch/WAY.results.
run() {
    local way=$1 host=$2 port=$3 out=$scratch/$1 began=$SECONDS status=0
    # The server too writes there, as its own user.
    mkdir "$out" "$out/results"
    chmod 0777 "$out/results"
    "$runner" --use-existing --dbname=regression --host="$host" --port="$port" --user="$TOLLHOUSE_ROLE" \
        --bindir="$bin" --dlpath="$scratch/lib" --inputdir="$scratch/suite" --outputdir="$out" \
        --schedule="$schedule" --max-concurrent-tests=20 >"$out/summary" 2>&1 || status=$?
    # 1 says that a test failed; anything else that the suite did not run.
    [[ $status -le 1 ]] || { cat "$out/summary" >&2; fail "pg_regress could not run ($way)"; }
    awk '/ \.\.\. / { sub(/^test /, ""); print $1, $3 }' "$out/summary" | sort >"$scratch/$way.results"
    printf '      %-8s %3d of %3d pass in %d s\n' "$way" "$(grep -c ' ok$' "$scratch/$way.results" || true)" \
        "$(wc -l <"$scratch/$way.results")" $((SECONDS - began))
}

run_through_sidecar() {
    start_empty_warehouse
    start_sidecar
    run sidecar "$TOLLHOUSE_HOST" "$TOLLHOUSE_PORT"
    stop_sidecar
    verify_audit >"$scratch/verify.out"
    cat "$scratch/verify.out"
}

stage_open
kit=$(tests/regress/kit.sh)
bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1)
runner=$(dirname "$bin")/lib/pgxs/src/test/regress/pg_regress
# Both programs read the suite, and the server may not see this directory.
cp -r "$kit/suite" "$kit/lib" "$scratch/"
schedule=$scratch/suite/parallel_schedule
start_dev
start_empty_warehouse
run direct "$WAREHOUSE_SOCKET" "$WAREHOUSE_PORT"
run_through_sidecar
diff "$scratch/direct.results" "$scratch/sidecar.results" || true
rm -rf /tmp/rg/last; mkdir -p /tmp/rg/last; cp -r "$scratch"/{direct,sidecar,*.results,*.log,audit} "$scratch/warehouse/log" /tmp/rg/last/
