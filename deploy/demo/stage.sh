# shellcheck shell=bash
# Sets the stage for the demo and for the end-to-end suites: `tollhouse dev`, a real PostgreSQL and the sidecar, all in
# one scratch directory that is cleared away on exit. To be sourced, from the repository's root, under `set -euo pipefail`.
#
# TOLLHOUSE_BINARY names the program to run; TOLLHOUSE_POLICY the policy of the sidecar, TOLLHOUSE_CONFIG its configuration,
# TOLLHOUSE_ROLE the role that it gets certificates for, TOLLHOUSE_AUDIENCE the one audience of the workload's token,
# DBT_PROJECT the directory of the dbt project.

tollhouse=${TOLLHOUSE_BINARY:-target/release/tollhouse}
venv=.cache/venv
export TOLLHOUSE_POLICY=${TOLLHOUSE_POLICY:-config/policy/demo.yaml}
# dbt writes no profile of its own, calls nobody, and keeps its output plain.
export DO_NOT_TRACK=1 DBT_SEND_ANONYMOUS_USAGE_STATS=false DBT_USE_COLORS=false

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# A port of loopback that is free now.
free_port() { python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])'; }

# Makes the scratch directory and chooses the ports. The directory's name stays short: Unix sockets stand in it.
stage_open() {
    [[ -x $tollhouse ]] || fail "$tollhouse is not built"
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/tollhouse.XXXXXX")
    trap stage_close EXIT
    trap 'exit 130' INT TERM
    chmod 0711 "$scratch"
    dev_pid='' sidecar_pid='' others=()
    local ports
    ports=$(python3 - <<'PY'
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
print(*(server.getsockname()[1] for server in held))
PY
    )
    read -r dev_port warehouse_port TOLLHOUSE_PORT TOLLHOUSE_ADMIN_PORT TOLLHOUSE_LOOPBACK_PORT <<<"$ports"
    export TOLLHOUSE_PORT TOLLHOUSE_ADMIN_PORT TOLLHOUSE_LOOPBACK_PORT
    export TOLLHOUSE_DEV_DIR=$scratch/dev TOLLHOUSE_DEV_URL=https://localhost:$dev_port
    export TOLLHOUSE_WAREHOUSE_PORT=$warehouse_port TOLLHOUSE_AUDIT_DIRECTORY=$scratch/audit
    export TOLLHOUSE_HOST=127.0.0.1 WAREHOUSE_SOCKET=$scratch/warehouse/socket WAREHOUSE_PORT=$warehouse_port
    mkdir -m 0700 "$TOLLHOUSE_AUDIT_DIRECTORY"
}

# Ends what runs and removes the scratch directory; after a failure it says first what the programs said.
stage_close() {
    local status=$?
    trap - EXIT INT TERM
    set +e
    if [[ $status -ne 0 ]]; then
        tail -n 40 "$scratch"/*.log >&2
    fi
    # The sidecar first: it may have something to give back to the others.
    [[ -z $sidecar_pid ]] || end "$sidecar_pid"
    end ${dev_pid:+"$dev_pid"} "${others[@]}"
    deploy/demo/warehouse.sh stop "$scratch/warehouse"
    rm -rf "$scratch"
    exit "$status"
}

# end PID...
end() {
    [[ $# -gt 0 ]] || return 0
    kill "$@" 2>/dev/null
    wait "$@" 2>/dev/null
}

# wait_for WHAT PID COMMAND...: until the command succeeds; fails when the process ends or PATIENCE seconds (30) pass.
wait_for() {
    local what=$1 pid=$2
    shift 2
    for _ in $(seq $((${PATIENCE:-30} * 10))); do
        ! "$@" 2>/dev/null || return 0
        kill -0 "$pid" 2>/dev/null || fail "$what ended before it was ready"
        sleep 0.1
    done
    fail "$what was not ready after ${PATIENCE:-30} s"
}

# start_other NAME COMMAND...: a program that a suite brings along, its output in $scratch/NAME.log; its process is the last of
# `others`, which end with the stage.
start_other() {
    local name=$1
    shift
    "$@" >>"$scratch/$name.log" 2>&1 </dev/null &
    others+=("$!")
}

start_dev() {
    "$tollhouse" dev --directory "$TOLLHOUSE_DEV_DIR" --address "127.0.0.1:$dev_port" \
        --role "${TOLLHOUSE_ROLE:-dbt_runner}" --namespace demo --service-account dbt-runner --audience "${TOLLHOUSE_AUDIENCE:-tollhouse}" >>"$scratch/dev.log" 2>&1 &
    dev_pid=$!
    wait_for "tollhouse dev" "$dev_pid" test -e "$TOLLHOUSE_DEV_DIR/ready"
}

start_warehouse() {
    deploy/demo/warehouse.sh start "$scratch/warehouse" "$warehouse_port" "$TOLLHOUSE_DEV_DIR"
}

start_sidecar() {
    "$tollhouse" run --config "${TOLLHOUSE_CONFIG:-config/dev.yaml}" >>"$scratch/sidecar.log" 2>&1 &
    sidecar_pid=$!
    wait_for "tollhouse run" "$sidecar_pid" curl --silent --fail --output /dev/null --max-time 1 "http://127.0.0.1:$TOLLHOUSE_ADMIN_PORT/readyz"
}

# SIGTERM: the sidecar drains, closes its audit log and exits with 0.
stop_sidecar() {
    local status=0
    kill -TERM "$sidecar_pid"
    wait "$sidecar_pid" || status=$?
    sidecar_pid=''
    [[ $status -eq 0 ]] || fail "the sidecar exited with $status on SIGTERM"
}

# psql as any client on loopback would start it: no secret, and the proxy in place of the warehouse.
psql_through() {
    psql --no-psqlrc --host="$TOLLHOUSE_HOST" --port="$TOLLHOUSE_PORT" --username=dbt_runner --dbname=demo "$@"
}

# dbt_run TARGET NAME COMMAND...: one run of dbt, its artifacts in $scratch/NAME; prints its closing line.
dbt_run() {
    local target=$1 name=$2 project=${DBT_PROJECT:-deploy/demo/dbt}
    shift 2
    if ! "$venv/bin/dbt" "$@" --target "$target" --project-dir "$project" --profiles-dir deploy/demo/dbt \
        --target-path "$scratch/$name" --log-path "$scratch/$name" --no-version-check >"$scratch/$name.out" 2>&1; then
        cat "$scratch/$name.out" >&2
        fail "dbt $* against the $target target"
    fi
    printf '      dbt %-14s %-8s %s\n' "$*" "$target" "$(tail -n 1 "$scratch/$name.out" | cut -d ' ' -f 3-)"
}

# check PART COMMAND...: one part of a suite. A failure is told with what the command printed, and the others still run.
suite=$(basename "$0" .sh) passed=0 failed=0
check() {
    local part=$1
    shift
    # In a process of its own, where whatever fails ends it: bash takes `set -e` back in a condition.
    "$@" >"$scratch/$part.out" 2>&1 &
    if wait $!; then
        printf 'ok %s %s\n' "$suite" "$part"
        passed=$((passed + 1))
    else
        cat "$scratch/$part.out" >&2
        printf 'FAILED: %s %s\n' "$suite" "$part" >&2
        failed=$((failed + 1))
    fi
}

# The closing line of a suite, and its exit code.
conclude() {
    printf '%s: %d passed, %d failed\n' "$suite" "$passed" "$failed"
    [[ $failed -eq 0 ]]
}

verify_audit() {
    "$tollhouse" audit verify --directory "$TOLLHOUSE_AUDIT_DIRECTORY" || fail "the audit log does not verify"
}

# No token, key or secret of this run stands in any log or audit file.
expect_no_secrets() {
    local secrets=$scratch/secrets found
    # The values themselves: the token, each of its parts, the login secret, and the lines of each private key.
    {
        tr -d '\n' <"$TOLLHOUSE_DEV_DIR/token/token"
        echo
        tr '.' '\n' <"$TOLLHOUSE_DEV_DIR/token/token" | tail -n +2
        cat "$TOLLHOUSE_DEV_DIR/scram-secret"
        echo
        find "$TOLLHOUSE_DEV_DIR" -name '*.key' -exec grep -hv -e '-----' {} +
        grep -hv -e '-----' "$TOLLHOUSE_AUDIT_DIRECTORY/signing-key.pem"
        echo 'PRIVATE KEY-----'
    } | awk 'length >= 8' >"$secrets"
    [[ $(wc -l <"$secrets") -ge 5 ]] || fail "the secrets to look for were not found"
    if found=$(grep --recursive --files-with-matches --text --fixed-strings --exclude=signing-key.pem --file="$secrets" \
        "$TOLLHOUSE_AUDIT_DIRECTORY" "$scratch"/*.log); then
        fail "a secret stands in $found"
    fi
}
