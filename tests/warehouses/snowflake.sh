#!/usr/bin/env bash
# Starts and stops fakesnow with what it lacks (see snowflake/server.py): a plain port to compare with, and one that checks logins.
# Usage: tests/warehouses/snowflake.sh start DIRECTORY CHECKED_PORT PLAIN_PORT JWKS_URL ISSUER CA | stop DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/../.."

start() {
    local directory=$1 checked=$2 plain=$3 jwks=$4 issuer=$5 ca=$6
    mkdir -p "$directory"
    .cache/snowflake-venv/bin/python tests/warehouses/snowflake/server.py "$plain" "$checked" "$directory/journal.jsonl" "$jwks" "$issuer" "$ca" \
        >"$directory/server.log" 2>&1 &
    echo $! >"$directory/pid"
    for _ in $(seq 300); do
        if curl --silent --output /dev/null --max-time 1 "http://127.0.0.1:$plain/" && curl --silent --output /dev/null --max-time 1 "http://127.0.0.1:$checked/"; then return 0; fi
        sleep 0.1
    done
    cat "$directory/server.log" >&2
    return 1
}

stop() {
    [[ -e $1/pid ]] || return 0
    kill "$(cat "$1/pid")" 2>/dev/null || true
    rm -f "$1/pid"
}

"$@"
