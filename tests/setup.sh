#!/usr/bin/env bash
# Installs what the build, the demo and the test suites need beyond Rust, on Debian 12 or later.
# Quiet and quick when everything is there. Usage: tests/setup.sh
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.cache/venv
stamp=.cache/setup.stamp

# Package, and the file or command that shows it is there. libclang is for the bindings of PostgreSQL's parser,
# gcc, make and cmake for the C libraries that crates build.
needs=(
    "gcc            command:gcc"
    "make           command:make"
    "cmake          command:cmake"
    "curl           command:curl"
    "libclang-dev   file:/usr/lib/llvm-*/lib/libclang*.so"
    "libc6-dev      file:/usr/include/stdio.h"
    "postgresql     file:/usr/lib/postgresql/*/bin/postgres"
    "python3-venv   module:ensurepip"
)

say() { printf 'setup: %s\n' "$*" >&2; }

is_there() {
    case $1 in
        command:*) command -v "${1#command:}" >/dev/null ;;
        file:*) compgen -G "${1#file:}" >/dev/null ;;
        module:*) python3 -c "import ${1#module:}" 2>/dev/null ;;
        *) say "unknown kind of need: $1"; exit 2 ;;
    esac
}

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    local missing=() package sign
    for need in "${needs[@]}"; do
        read -r package sign <<<"$need"
        is_there "$sign" || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "installing ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

install_venv() {
    say "installing dbt and the PostgreSQL drivers into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement tests/requirements.txt
}

# The stamp holds the digest of everything that decides what is installed.
wanted=$(cat "$0" tests/requirements.txt | sha256sum)
install_packages
if [[ ! -x $venv/bin/dbt || $(cat "$stamp" 2>/dev/null) != "$wanted" ]]; then
    install_venv
    printf '%s\n' "$wanted" >"$stamp"
fi
