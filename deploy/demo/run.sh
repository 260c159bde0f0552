#!/usr/bin/env bash
# The demo: a real dbt project through Tollhouse into a real PostgreSQL that only knows client certificates.
# Everything runs in a scratch directory that is cleared away; KEEP=1 leaves it running and says how to connect.
# Usage: make demo [KEEP=1]
set -euo pipefail
cd "$(dirname "$0")/../.."
source deploy/demo/stage.sh

step() { printf '\n[%s/6] %s\n' "$1" "$2"; }

run_dbt() {
    local target=$1
    dbt_run "$target" "$target-1" build
    dbt_run "$target" "$target-2" build
    dbt_run "$target" "$target-docs" docs generate
}

# expect_same NAME FILE: the same results through the proxy as directly.
expect_same() {
    printf '      %s, proxied and direct: %s\n' "$1" "$(deploy/demo/compare.py "$scratch/direct-$2" "$scratch/proxied-$2")"
}

# The statements of the README's first minute, as the prompt shows them there.
readme_statements() { sed -n 's/^demo=> //p' README.md; }

# Asks them in one session, and then the first again: the connection has to be usable after the refusal.
show_refusal() {
    local said statement statements
    mapfile -t statements < <(readme_statements)
    [[ ${#statements[@]} -eq 2 ]] || fail "the README does not show two statements"
    said=$(for statement in "${statements[@]}" "${statements[0]}"; do
        printf '\\echo => %s\n%s\n' "$statement" "$statement"
    done | psql_through --set=VERBOSITY=verbose 2>&1 || true)
    printf '      %s\n' "${said//$'\n'/$'\n'      }"
    grep -q '^ERROR:  42501:' <<<"$said" || fail "the statement was not refused with SQLSTATE 42501"
    grep -qi 'audit record' <<<"$said" || fail "the refusal names no audit record"
    [[ $(grep -c '^ Ada  *|  *3$' <<<"$said") -eq 2 ]] || fail "the allowed statement did not run before and after the refusal"
    ! grep -q 1000000 <<<"$said" || fail "a row of the refused table came through"
}

scrape() { curl --silent --fail --max-time 5 "http://127.0.0.1:$TOLLHOUSE_ADMIN_PORT/metrics" >"$scratch/metrics-$1"; }

# The samples that changed between the two scrapes, with both values; buckets and sums left out.
show_metrics() {
    awk '
        /^#/ || $1 ~ /(_bucket|_sum)(\{|$)/ || !/^tollhouse_/ { next }
        { value = $NF; $NF = ""; name = $0 }
        NR == FNR { before[name] = value; next }
        before[name] + 0 != value + 0 { printf "      %10g -> %-10g %s\n", before[name], value, name; moved++ }
        END { exit moved == 0 }
    ' "$scratch/metrics-before" "$scratch/metrics-after" || fail "no metric moved"
}

keep_running() {
    trap - EXIT INT TERM
    cat <<TEXT

Left running in $scratch. Connect with
    psql "host=127.0.0.1 port=$TOLLHOUSE_PORT dbname=demo user=dbt_runner"
watch it with
    $tollhouse audit tail --directory $TOLLHOUSE_AUDIT_DIRECTORY
    curl http://127.0.0.1:$TOLLHOUSE_ADMIN_PORT/metrics
and end it with
    kill $sidecar_pid $dev_pid; deploy/demo/warehouse.sh stop $scratch/warehouse; rm -r $scratch
TEXT
}

stage_open

step 1 "Start tollhouse dev: token issuer, token endpoint and certificate authority"
start_dev
echo "      $TOLLHOUSE_DEV_URL"

step 2 "Start PostgreSQL: TLS, client certificates only, no password"
start_warehouse
if psql "host=127.0.0.1 port=$warehouse_port dbname=demo user=dbt_runner" --command='select 1' >"$scratch/refused.out" 2>&1; then
    fail "PostgreSQL let somebody in without a certificate"
fi
sed 's/^/      without a certificate: /' "$scratch/refused.out" | grep -m 1 certificate

step 3 "Start the sidecar: tollhouse run --config config/dev.yaml"
start_sidecar
echo "      listening on 127.0.0.1:$TOLLHOUSE_PORT"
scrape before

step 4 "Run dbt twice and generate its docs, directly and through the sidecar"
run_dbt direct
run_dbt proxied
expect_same "first build" 1/run_results.json
expect_same "second build" 2/run_results.json
expect_same "docs" docs/catalog.json

step 5 "Ask for a table outside the policy"
show_refusal

step 6 "What was recorded"
"$tollhouse" audit tail --directory "$TOLLHOUSE_AUDIT_DIRECTORY" -n 25 --tables
echo
verify_audit
echo
scrape after
show_metrics
expect_no_secrets
printf '\nNo token, key or secret stands in the logs or the audit log.\n'

if [[ ${KEEP:-0} == 1 ]]; then
    keep_running
else
    stop_sidecar
    verify_audit >"$scratch/verify.out"
    printf 'The sidecar drained, closed its audit log and exited with 0.\ndemo: 6 passed, 0 failed\n'
fi
