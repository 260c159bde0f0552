#!/usr/bin/env bash
# PostgreSQL's own test suites through the sidecar, under a policy that allows everything, with an audit log.
# Usage: tests/regress.sh [full|short]; TOLLHOUSE_BINARY names the program. Ends with `N passed, N failed`.
#
#   full   the regression suite, the isolation suite and libpq's pipeline test: directly and through the sidecar, each
#          time on a new server, compared test by test
#   short  the regression tests of the schedule tests/regress/short and the pipeline test but for its flood, through the
#          sidecar only
#
# A test that fails directly too is named, and counts neither way. After the runs the audit log verifies, and every
# statement in the server's own log has its attempt record. KEEP=DIR copies outputs and diffs of the sidecar's run there.
set -euo pipefail
cd "$(dirname "$0")/.."
export TOLLHOUSE_ROLE=postgres TOLLHOUSE_CONFIG=tests/regress/tollhouse.yaml TOLLHOUSE_POLICY=tests/regress/policy.yaml
source deploy/demo/stage.sh

# One for each suite, by the name that its tests know it by.
databases=(regression isolation_regression pipeline)

# A new warehouse with the databases of the suites, set as pg_regress itself would set them. The role is the one that
# initialised the cluster: the suite expects the owner of the system catalogs.
start_empty_warehouse() {
    local database
    deploy/demo/warehouse.sh stop "$scratch/warehouse"
    rm -rf "$scratch/warehouse"
    start_warehouse
    for database in "${databases[@]}"; do
        psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --host="$WAREHOUSE_SOCKET" --port="$WAREHOUSE_PORT" \
            --username="$TOLLHOUSE_ROLE" --dbname=postgres --set=database="$database" <<'SQL'
create database :database template template0 encoding 'UTF8' locale 'C';
alter database :database set lc_messages to 'C';
alter database :database set lc_monetary to 'C';
alter database :database set lc_numeric to 'C';
alter database :database set lc_time to 'C';
alter database :database set bytea_output to 'hex';
alter database :database set timezone_abbreviations to 'Default';
SQL
    done
}

# run_suite SUITE WAY HOST PORT: leaves `TEST ok|FAILED` for each test in $scratch/WAY/SUITE.results, its outputs beside.
run_suite() {
    local suite=$1 way=$2 began=$SECONDS out=$scratch/$2/$1
    mkdir -p "$out/results"
    # The server too writes there, as its own user.
    chmod 0777 "$out/results"
    case $suite in
        regression) run_schedule "$out" "$3" "$4" regress/pg_regress regression "$schedule" ;;
        isolation) run_schedule "$out" "$3" "$4" isolation/pg_isolation_regress isolation_regression "$scratch/kit/isolation/isolation_schedule" ;;
        pipeline) run_pipeline "$out" "$3" "$4" ;;
    esac
    [[ -s $out.results ]] || fail "$suite has no results ($way)"
    printf '      %-10s %-8s %3d of %3d pass in %d s\n' "$suite" "$way" "$(grep -c ' ok$' "$out.results" || true)" \
        "$(wc -l <"$out.results")" $((SECONDS - began))
}

# run_schedule OUT HOST PORT RUNNER DATABASE SCHEDULE: one of pg_regress' family.
run_schedule() {
    local out=$1 status=0
    "$pgxs/$4" --use-existing --dbname="$5" --host="$2" --port="$3" --user="$TOLLHOUSE_ROLE" --bindir="$bin" \
        --dlpath="$scratch/kit/lib" --inputdir="$scratch/kit/${4%%/*}" --outputdir="$out" --schedule="$6" \
        --max-concurrent-tests=20 >"$out/summary" 2>&1 || status=$?
    # 1 says that a test failed; anything else that the suite did not run.
    [[ $status -le 1 ]] || { cat "$out/summary" >&2; fail "$4 could not run"; }
    awk '/ \.\.\. / { sub(/^test /, ""); print $1, $3 }' "$out/summary" | sort >"$out.results"
}

# run_pipeline OUT HOST PORT: the extended protocol, message by message: libpq writes down what it sends and receives.
run_pipeline() {
    local out=$1 pipeline=$scratch/kit/pipeline test verdict
    for test in $("$pipeline/libpq_pipeline" tests); do
        # It fills every buffer on the way before it looks at a reply: a hundred thousand statements over TCP.
        [[ $mode == full || $test != uniqviol ]] || continue
        verdict=FAILED
        if timeout 60 "$pipeline/libpq_pipeline" -r 700 -t "$out/results/$test.trace" "$test" \
            "host=$2 port=$3 user=$TOLLHOUSE_ROLE dbname=pipeline" >"$out/results/$test.out" 2>&1 &&
            { [[ ! -f $pipeline/traces/$test.trace ]] ||
                diff -u "$pipeline/traces/$test.trace" "$out/results/$test.trace" >>"$out/regression.diffs"; }; then
            verdict=ok
        fi
        printf '%s %s\n' "$test" "$verdict"
    done | sort >"$out.results"
}

# run_all WAY HOST PORT: every suite, on a new server.
run_all() {
    local suite
    for suite in "${suites[@]}"; do
        run_suite "$suite" "$@"
    done
}

run_all_directly() {
    start_empty_warehouse
    run_all direct "$WAREHOUSE_SOCKET" "$WAREHOUSE_PORT"
}

run_all_through_sidecar() {
    start_empty_warehouse
    start_sidecar
    run_all sidecar "$TOLLHOUSE_HOST" "$TOLLHOUSE_PORT"
    stop_sidecar
    verify_audit >"$scratch/verify.out"
    deploy/demo/warehouse.sh stop "$scratch/warehouse"
    "$venv/bin/python" tests/crash_evidence.py "$scratch/warehouse/log/statements.csv" "$TOLLHOUSE_AUDIT_DIRECTORY"
}

# What a test did through the sidecar counts against it only if it does better without.
judge() {
    local suite test verdict direct
    for suite in "${suites[@]}"; do
        while read -r test verdict; do
            direct=$(sed -n "s/^$test //p" "$scratch/direct/$suite.results" 2>/dev/null || true)
            if [[ $verdict == ok ]]; then
                passed=$((passed + 1))
            elif [[ $mode == full && $direct != ok ]]; then
                printf 'fails directly too: %s %s\n' "$suite" "$test"
            else
                failed=$((failed + 1))
                printf 'FAILED: %s %s\n' "$suite" "$test" >&2
            fi
        done <"$scratch/sidecar/$suite.results"
    done
    [[ $failed -eq 0 ]] || cat "$scratch"/sidecar/*/regression.diffs >&2
}

mode=${1:-full}
case $mode in
    full) suites=(regression isolation pipeline) ;;
    short) suites=(regression pipeline) ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
kit=$(tests/regress/kit.sh)
bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1)
pgxs=$(dirname "$bin")/lib/pgxs/src/test
passed=0 failed=0
stage_open
# Client and server both read the suites, and the server's user may not see this directory.
cp -r "$kit" "$scratch/kit"
schedule=$scratch/kit/regress/parallel_schedule
[[ $mode == full ]] || schedule=$PWD/tests/regress/short
start_dev
[[ $mode == short ]] || run_all_directly
run_all_through_sidecar
judge
if [[ -n ${KEEP:-} ]]; then cp -r "$scratch"/{sidecar,sidecar.log} "$KEEP"; fi
printf 'regress: %d passed, %d failed\n' "$passed" "$failed"
[[ $failed -eq 0 ]]
