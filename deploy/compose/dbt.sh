#!/usr/bin/env bash
# What dbt does in deploy/docker-compose.yaml.
#   dbt.sh direct    two builds and the docs straight to the warehouse, by its Unix socket
#   dbt.sh proxied   the same through the sidecar, compared node by node; then what must be refused is refused
set -euo pipefail
export DO_NOT_TRACK=1 DBT_SEND_ANONYMOUS_USAGE_STATS=false DBT_USE_COLORS=false

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# run NAME COMMAND...: one run of dbt, its artifacts in /artifacts/TARGET-NAME; says how it ended.
run() {
    local out=/artifacts/$target-$1
    shift
    mkdir -p "$out"
    dbt "$@" --target "$target" --project-dir /project --profiles-dir /project --target-path "$out" --log-path "$out" \
        --no-version-check >"$out/said" 2>&1 || { cat "$out/said" >&2; fail "dbt $* against the $target target"; }
    printf 'dbt %-14s %-8s %s\n' "$*" "$target" "$(tail -n 1 "$out/said" | cut -d ' ' -f 3-)"
}

# until_ready: the sidecar shares this container's network; its readiness says that it listens, has policy and a log.
until_ready() {
    local deadline=$((SECONDS + 60))
    while ((SECONDS < deadline)); do
        ! python3 -c 'import urllib.request as r; r.urlopen("http://127.0.0.1:15020/readyz", timeout=1)' 2>/dev/null || return 0
        sleep 0.1
    done
    fail "the sidecar was not ready within 60 s"
}

# The warehouse can be reached from here, but lets in nobody without the certificate, which the sidecar alone gets.
expect_no_way_around() {
    local said
    said=$(python3 - 2>&1 <<'PY'
import psycopg2
try:
    psycopg2.connect(host="warehouse", dbname="demo", user="dbt_runner", password="unused", sslmode="require")
except psycopg2.OperationalError as refusal:
    print(refusal)
PY
    )
    grep -q 'requires a valid client certificate' <<<"$said" || fail "the warehouse did not ask for a certificate: $said"
    echo "straight to the warehouse: ${said##*FATAL: }"
}

# A table that policy denies, and that PostgreSQL itself would have shown.
expect_refusal() {
    local said
    ! said=$(dbt --quiet show --inline 'select * from finance.salaries' --target proxied --project-dir /project --profiles-dir /project \
        --target-path /artifacts/refused --log-path /artifacts/refused --no-version-check 2>&1) || fail "dbt read finance.salaries"
    grep -q 'policy-deny-rule' <<<"$said" || fail "the refusal does not name its reason: $said"
    grep -m 1 'tollhouse:' <<<"$said"
}

target=${1:?direct or proxied}
[[ $target == direct ]] || until_ready
run 1 build
run 2 build
run docs docs generate
[[ $target == proxied ]] || exit 0
for result in 1/run_results.json 2/run_results.json docs/catalog.json; do
    printf '%s, proxied and direct: %s\n' "$result" "$(compare "/artifacts/direct-$result" "/artifacts/proxied-$result")"
done
expect_no_way_around
expect_refusal
echo "dbt: done; its profile holds no secret"
