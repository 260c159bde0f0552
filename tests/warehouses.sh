#!/usr/bin/env bash
# Real warehouses behind the sidecar's HTTP door, with the real dbt adapters and client libraries in front of it.
# Usage: tests/warehouses.sh [athena|bigquery|clickhouse|databricks|snowflake|spark|trino ...]; all of them where none is named.
# TOLLHOUSE_BINARY names the program. Ends with `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/.."

# Each has a stage of its own.
if [[ $# -ne 1 ]]; then
    passed=0 failed=0
    [[ $# -gt 0 ]] || set -- athena bigquery clickhouse databricks snowflake spark trino
    for warehouse in "$@"; do
        said=$(tests/warehouses.sh "$warehouse" | tee >(cat >&2) | sed -n '$s/^.*: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p') || true
        read -r one other <<<"${said:-0 1}"
        passed=$((passed + one)) failed=$((failed + other))
    done
    printf 'warehouses: %d passed, %d failed\n' "$passed" "$failed"
    [[ $failed -eq 0 ]]
    exit
fi
export TOLLHOUSE_POLICY=tests/warehouses/trino/policy.yaml DBT_PROJECT=tests/warehouses/dbt
source deploy/demo/stage.sh

clients=$PWD/.cache/warehouses-venv
passed=0 failed=0

# check NAME COMMAND...
check() {
    local name=$1
    shift
    if "$@" >"$scratch/check.out" 2>&1; then
        printf 'ok %s\n' "$name"
        passed=$((passed + 1))
    else
        cat "$scratch/check.out" >&2
        printf 'FAILED: %s\n' "$name" >&2
        failed=$((failed + 1))
    fi
}

# dbt TARGET NAME COMMAND...: one run, its artifacts in $scratch/NAME.
dbt() {
    local target=$1 name=$2
    shift 2
    "$clients/bin/dbt" "$@" --target "$target" --project-dir "$DBT_PROJECT" --profiles-dir "$DBT_PROJECT" \
        --target-path "$scratch/$name" --log-path "$scratch/$name" --no-version-check
}

trino() {
    tests/warehouses/trino.sh install
    export TOLLHOUSE_CONFIG=tests/warehouses/trino/sidecar.yaml
    TRINO_PLAIN_PORT=$(free_port)
    export TRINO_PLAIN_PORT
    trap 'tests/warehouses/trino.sh stop "$scratch/trino"; stage_close' EXIT
    tests/warehouses/trino.sh start "$scratch/trino" "$warehouse_port" "$TRINO_PLAIN_PORT" "$TOLLHOUSE_DEV_DIR" \
        "$TOLLHOUSE_DEV_URL/oauth/jwks" "$TOLLHOUSE_DEV_URL/oauth"
    start_sidecar
    check trino-dbt-direct dbt trino_direct direct build
    check trino-dbt-build dbt trino proxied build
    check trino-dbt-again dbt trino again build
    check trino-dbt-docs dbt trino docs docs generate
    check trino-same-results deploy/demo/compare.py "$scratch/direct/run_results.json" "$scratch/proxied/run_results.json"
    check trino-client "$clients/bin/python" tests/warehouses/trino/session.py 127.0.0.1 "$TOLLHOUSE_PORT"
    stop_sidecar
    "$tollhouse" audit tail --directory "$TOLLHOUSE_AUDIT_DIRECTORY" --format json --lines 100000 >"$scratch/executions.jsonl"
    check trino-evidence "$clients/bin/python" tests/warehouses/trino/evidence.py "$scratch/executions.jsonl"
    tests/warehouses/trino.sh stop "$scratch/trino"
    trap stage_close EXIT
}

clickhouse() {
    local clients=$PWD/.cache/clickhouse-venv
    tests/setup.sh clickhouse
    tests/warehouses/clickhouse.sh install
    export TOLLHOUSE_CONFIG=tests/warehouses/clickhouse/sidecar.yaml CLICKHOUSE_PASSWORD_FILE=$scratch/clickhouse-password
    CLICKHOUSE_PLAIN_PORT=$(free_port) CLICKHOUSE_SERVER_PORT=$(free_port) CLICKHOUSE_SERVER_LISTENER=$(free_port)
    export CLICKHOUSE_PLAIN_PORT CLICKHOUSE_SERVER_PORT CLICKHOUSE_SERVER_LISTENER
    head -c 24 /dev/urandom | base64 --wrap=0 | tr '+/' '-_' >"$CLICKHOUSE_PASSWORD_FILE"
    local server_plain_port
    server_plain_port=$(free_port)
    tests/warehouses/clickhouse.sh start "$scratch/clickhouse" "$CLICKHOUSE_SERVER_PORT" "$server_plain_port" "$TOLLHOUSE_DEV_DIR" "$CLICKHOUSE_PASSWORD_FILE"
    others+=("$(cat "$scratch/clickhouse/pid")")
    start_other chdb "$clients/bin/python" tests/warehouses/clickhouse/server.py "$warehouse_port" "$CLICKHOUSE_PLAIN_PORT" "$scratch/chdb" \
        "$TOLLHOUSE_DEV_DIR" "$TOLLHOUSE_DEV_URL/oauth/jwks" "$TOLLHOUSE_DEV_URL/oauth"
    wait_for chdb "${others[-1]}" curl --silent --output /dev/null --max-time 1 "http://127.0.0.1:$CLICKHOUSE_PLAIN_PORT/ping"
    start_sidecar
    check clickhouse-dbt-direct dbt clickhouse_direct clickhouse-direct build
    check clickhouse-dbt-build dbt clickhouse clickhouse-proxied build
    check clickhouse-dbt-again dbt clickhouse clickhouse-again build
    check clickhouse-dbt-docs dbt clickhouse clickhouse-docs docs generate
    check clickhouse-same-results deploy/demo/compare.py "$scratch/clickhouse-direct/run_results.json" "$scratch/clickhouse-proxied/run_results.json"
    check clickhouse-client "$clients/bin/python" tests/warehouses/clickhouse/session.py 127.0.0.1 "$TOLLHOUSE_PORT"
    check clickhouse-server python3 tests/warehouses/clickhouse/server_session.py 127.0.0.1 "$CLICKHOUSE_SERVER_LISTENER" "$server_plain_port"
    stop_sidecar
    "$tollhouse" audit tail --directory "$TOLLHOUSE_AUDIT_DIRECTORY" --format json --lines 100000 >"$scratch/clickhouse.jsonl"
    check clickhouse-evidence python3 tests/warehouses/clickhouse/evidence.py "$scratch/clickhouse.jsonl" "$scratch/chdb/seen.jsonl" "$server_plain_port"
}

bigquery() {
    local clients=$PWD/.cache/bigquery-venv run
    tests/setup.sh bigquery
    export TOLLHOUSE_CONFIG=tests/warehouses/bigquery/sidecar.yaml
    start_other bigquery "$clients/bin/python" tests/warehouses/bigquery/server.py "$warehouse_port" "$TOLLHOUSE_DEV_DIR" \
        "$TOLLHOUSE_DEV_URL/oauth" "$scratch/seen.jsonl"
    wait_for bqemulator "${others[-1]}" curl --silent --output /dev/null --max-time 2 --cacert "$TOLLHOUSE_DEV_DIR/ca.crt" \
        --header 'Authorization: Bearer direct' "https://localhost:$warehouse_port/"
    start_sidecar
    REQUESTS_CA_BUNDLE=$TOLLHOUSE_DEV_DIR/ca.crt check bigquery-dbt-direct dbt bigquery_direct bigquery-direct build
    check bigquery-dbt-build dbt bigquery bigquery-proxied build
    check bigquery-dbt-again dbt bigquery bigquery-again build
    for run in proxied again; do
        check "bigquery-same-results-$run" deploy/demo/compare.py "$scratch/bigquery-direct/run_results.json" \
            "$scratch/bigquery-$run/run_results.json"
    done
    check bigquery-client "$clients/bin/python" tests/warehouses/bigquery/session.py "http://127.0.0.1:$TOLLHOUSE_PORT"
    stop_sidecar
    "$tollhouse" audit tail --directory "$TOLLHOUSE_AUDIT_DIRECTORY" --format json --lines 100000 >"$scratch/bigquery.jsonl"
    check bigquery-evidence "$clients/bin/python" tests/warehouses/bigquery/evidence.py "$scratch/bigquery.jsonl" "$scratch/seen.jsonl"
    end "${others[-1]}"
}

snowflake() {
    tests/setup.sh snowflake
    local clients=$PWD/.cache/snowflake-venv
    export TOLLHOUSE_CONFIG=tests/warehouses/snowflake/sidecar.yaml
    SNOWFLAKE_PLAIN_PORT=$(free_port)
    export SNOWFLAKE_PLAIN_PORT
    start_other snowflake "$clients/bin/python" tests/warehouses/snowflake/server.py "$SNOWFLAKE_PLAIN_PORT" "$warehouse_port" \
        "$scratch/snowflake.jsonl" "$TOLLHOUSE_DEV_URL/oauth/jwks" "$TOLLHOUSE_DEV_URL/oauth" "$TOLLHOUSE_DEV_DIR/ca.crt"
    wait_for fakesnow "${others[-1]}" curl --silent --output /dev/null --max-time 1 "http://127.0.0.1:$warehouse_port/"
    start_sidecar
    check snowflake-dbt-direct dbt snowflake_direct snowflake-direct build
    check snowflake-dbt-build dbt snowflake snowflake-proxied build
    check snowflake-dbt-again dbt snowflake snowflake-again build
    check snowflake-dbt-docs dbt snowflake snowflake-docs docs generate
    check snowflake-same-results deploy/demo/compare.py "$scratch/snowflake-direct/run_results.json" "$scratch/snowflake-proxied/run_results.json"
    check snowflake-clients "$clients/bin/python" tests/warehouses/snowflake/session.py 127.0.0.1 "$TOLLHOUSE_PORT"
    stop_sidecar
    "$tollhouse" audit tail --directory "$TOLLHOUSE_AUDIT_DIRECTORY" --format json --lines 100000 >"$scratch/executions.jsonl"
    check snowflake-evidence "$clients/bin/python" tests/warehouses/snowflake/evidence.py "$scratch/executions.jsonl" "$scratch/snowflake.jsonl"
}

# aws_as USER COMMAND...: with the keys that moto has given to the user.
aws_as() {
    local user=$1 keys
    shift
    keys=$(jq --raw-output ".$user | .id, .secret" "$scratch/athena-ready")
    AWS_ACCESS_KEY_ID=${keys%$'\n'*} AWS_SECRET_ACCESS_KEY=${keys#*$'\n'} "$@"
}

athena() {
    local clients=$PWD/.cache/athena-venv
    tests/setup.sh athena
    export TOLLHOUSE_CONFIG=tests/warehouses/athena/sidecar.yaml AWS_URL=http://localhost:$warehouse_port AWS_DEFAULT_REGION=eu-central-1
    export AWS_ENDPOINT_URL_GLUE=$AWS_URL AWS_ENDPOINT_URL_S3=$AWS_URL AWS_ENDPOINT_URL_STS=$AWS_URL
    start_other moto "$clients/bin/python" tests/warehouses/athena/server.py "$warehouse_port" "$TOLLHOUSE_DEV_URL/kubernetes" \
        "$TOLLHOUSE_DEV_DIR/ca.crt" "$scratch/athena-seen.jsonl" "$scratch/athena-ready"
    wait_for moto "${others[-1]}" test -e "$scratch/athena-ready"
    start_sidecar
    check athena-dbt-direct aws_as direct dbt athena_direct athena-direct build
    check athena-dbt-build aws_as pod dbt athena athena-proxied build
    check athena-dbt-again aws_as pod dbt athena athena-again build
    check athena-same-results deploy/demo/compare.py "$scratch/athena-direct/run_results.json" "$scratch/athena-proxied/run_results.json"
    check athena-client "$clients/bin/python" tests/warehouses/athena/session.py 127.0.0.1 "$TOLLHOUSE_PORT"
    stop_sidecar
    "$tollhouse" audit tail --directory "$TOLLHOUSE_AUDIT_DIRECTORY" --format json --lines 100000 >"$scratch/athena.jsonl"
    check athena-evidence python3 tests/warehouses/athena/evidence.py "$scratch/athena.jsonl" "$scratch/athena-seen.jsonl"
}

spark() {
    local clients=$PWD/.cache/spark-venv SSL_CERT_FILE=$TOLLHOUSE_DEV_DIR/ca.crt
    tests/warehouses/spark.sh install
    export TOLLHOUSE_CONFIG=tests/warehouses/spark/sidecar.yaml SSL_CERT_FILE
    trap 'tests/warehouses/spark.sh stop "$scratch/spark"; stage_close' EXIT
    tests/warehouses/spark.sh start "$scratch/spark" "$warehouse_port" "$TOLLHOUSE_DEV_DIR"
    start_sidecar
    check spark-dbt-direct dbt spark_direct spark-direct build
    check spark-dbt-build dbt spark spark-proxied build
    check spark-dbt-again dbt spark spark-again build
    check spark-dbt-docs dbt spark spark-docs docs generate
    check spark-same-results deploy/demo/compare.py "$scratch/spark-direct/run_results.json" "$scratch/spark-proxied/run_results.json"
    check spark-client "$clients/bin/python" tests/warehouses/spark/session.py 127.0.0.1 "$TOLLHOUSE_PORT"
    stop_sidecar
    "$tollhouse" audit tail --directory "$TOLLHOUSE_AUDIT_DIRECTORY" --format json --lines 100000 >"$scratch/spark.jsonl"
    check spark-evidence "$clients/bin/python" tests/warehouses/spark/evidence.py "$scratch/spark.jsonl" "$scratch/spark/server.log"
    tests/warehouses/spark.sh stop "$scratch/spark"
    trap stage_close EXIT
}

# The connector in front of a front of ours, which gives Spark's server what Databricks' has besides.
databricks() {
    local clients=$PWD/.cache/databricks-venv
    tests/setup.sh databricks
    tests/warehouses/spark.sh install
    export TOLLHOUSE_CONFIG=tests/warehouses/databricks/sidecar.yaml
    local spark_port
    spark_port=$(free_port)
    trap 'tests/warehouses/spark.sh stop "$scratch/spark"; stage_close' EXIT
    tests/warehouses/spark.sh start "$scratch/spark" "$spark_port" "$TOLLHOUSE_DEV_DIR"
    start_other databricks "$clients/bin/python" tests/warehouses/databricks/server.py "$warehouse_port" "$spark_port" "$TOLLHOUSE_DEV_DIR" \
        "$TOLLHOUSE_DEV_URL/oauth/jwks" "$scratch/databricks-seen.jsonl"
    wait_for databricks "${others[-1]}" curl --silent --output /dev/null --max-time 2 --cacert "$TOLLHOUSE_DEV_DIR/ca.crt" "https://localhost:$warehouse_port/"
    start_sidecar
    check databricks-clients "$clients/bin/python" tests/warehouses/databricks/session.py 127.0.0.1 "$TOLLHOUSE_PORT"
    stop_sidecar
    "$tollhouse" audit tail --directory "$TOLLHOUSE_AUDIT_DIRECTORY" --format json --lines 100000 >"$scratch/databricks.jsonl"
    check databricks-evidence "$clients/bin/python" tests/warehouses/databricks/evidence.py "$scratch/databricks.jsonl" "$scratch/databricks-seen.jsonl"
    tests/warehouses/spark.sh stop "$scratch/spark"
    trap stage_close EXIT
}

free_port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

tests/setup.sh warehouses
stage_open
start_dev
"$1"
verify_audit >"$scratch/verify.out"
expect_no_secrets
printf 'warehouses: %d passed, %d failed\n' "$passed" "$failed"
[[ $failed -eq 0 ]]
