# shellcheck shell=bash
# A Docker engine of our own, with its socket in $scratch and its data in .cache/deploy/docker, or ENGINE_DATA. To be sourced behind
# deploy/demo/stage.sh, which brings `fail` and `check`.

engine_data=${ENGINE_DATA:-$PWD/.cache/deploy/docker}
engine_pid=''

# Debian's engine, client and compose; nothing of it is started by the package.
install_engine() {
    [[ $EUID -eq 0 ]] || fail "a Docker engine needs root"
    local program missing=()
    for program in docker.io:/usr/sbin/dockerd docker-compose:/usr/bin/docker-compose debootstrap:/usr/sbin/debootstrap iproute2:/sbin/ip; do
        [[ -x ${program#*:} ]] || missing+=("${program%%:*}")
    done
    if [[ ${#missing[@]} -gt 0 ]]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
    fi
    docker=/usr/bin/docker
    export DOCKER=$docker
}

# The scratch directory; whatever happens, the engine ends with the script.
engine_open() {
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/tollhouse.XXXXXX")
    export DOCKER_HOST=unix://$scratch/docker.sock
    trap engine_close EXIT
    trap 'exit 130' INT TERM
    mkdir -p "$engine_data"
}

engine_close() {
    local status=$?
    trap - EXIT INT TERM
    set +e
    [[ $status -eq 0 ]] || tail -n 20 "$scratch"/*.log >&2
    [[ -z $engine_pid ]] || engine_stop
    # What the engine mounted to keep its containers' networks.
    umount "$scratch"/exec/netns/* 2>/dev/null
    rm -rf "$scratch"
    exit "$status"
}

# engine_start build: in the machine's network and without a bridge, so that builds reach Debian's archive.
# engine_start apart: in a network namespace of its own, which ends with it.
engine_start() {
    local command=(dockerd --host "$DOCKER_HOST" --data-root "$engine_data" --exec-root "$scratch/exec" --pidfile "$scratch/docker.pid")
    case $1 in
        build) command+=(--bridge=none --iptables=false --ip-forward=false) ;;
        apart) command=(unshare --net -- sh -c 'ip link set lo up && exec "$@"' sh "${command[@]}") ;;
        *) fail "engine_start build|apart" ;;
    esac
    "${command[@]}" >>"$scratch/dockerd.log" 2>&1 </dev/null &
    engine_pid=$!
    wait_for dockerd "$engine_pid" "$docker" version --format '{{.Server.Version}}' >"$scratch/docker.version"
}

# SIGTERM ends the containers, then the engine.
engine_stop() {
    kill "$engine_pid" 2>/dev/null
    wait "$engine_pid" || true
    engine_pid=''
}

# in_engine COMMAND...: in the engine's network, where the published ports are.
in_engine() { nsenter --net="/proc/$(<"$scratch/docker.pid")/ns/net" -- "$@"; }
