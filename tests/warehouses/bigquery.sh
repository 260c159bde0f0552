#!/usr/bin/env bash
# Installs and starts bqemulator, which plays BigQuery, behind HTTPS and the verification of tokens.
# Usage: tests/warehouses/bigquery.sh install | start DIRECTORY HTTPS_PORT DEV_DIRECTORY JWKS_URL ISSUER | stop DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/../.."

install() { tests/setup.sh bigquery; }

start() {
    local directory=$1 port=$2 dev=$3 jwks=$4 issuer=$5
    mkdir -p "$directory"
    .cache/bigquery-venv/bin/python tests/warehouses/bigquery/server.py "$port" "$dev/warehouse/server.crt" "$dev/warehouse/server.key" \
        "$jwks" "$issuer" "$dev/ca.crt" "$directory/seen.jsonl" >"$directory/server.log" 2>&1 </dev/null &
    printf '%s\n' "$!" >"$directory/pid"
    for _ in $(seq 300); do
        if curl --silent --output /dev/null --cacert "$dev/ca.crt" --header 'Authorization: Bearer direct' --max-time 2 \
            "https://localhost:$port/bigquery/v2/projects/jaffle/datasets"; then return 0; fi
        sleep 0.2
    done
    tail -n 40 "$directory/server.log" >&2
    return 1
}

stop() {
    [[ -e $1/pid ]] || return 0
    kill "$(<"$1/pid")" 2>/dev/null || true
    rm "$1/pid"
}

"$@"
