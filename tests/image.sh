#!/usr/bin/env bash
# deploy/Dockerfile, built by a Docker engine of its own on Debian stand-ins of its base images (deploy/local-images.sh), and what
# came out of it. Needs root. PROFILE=dev builds in minutes what `release` does in a quarter of an hour; TWICE=1 builds it again
# from nothing and compares the programs. Usage: make test-image
set -euo pipefail
cd "$(dirname "$0")/.."
source deploy/demo/stage.sh
source tests/engine.sh

epoch=$(git log -1 --format=%ct)

# build TAG: with BuildKit, which the cache mount needs; nothing of an earlier build is used.
build() {
    DOCKER_BUILDKIT=1 "$docker" build --progress plain --network host --no-cache --file deploy/Dockerfile \
        --build-arg PROFILE="${PROFILE:-release}" --build-arg SOURCE_DATE_EPOCH="$epoch" --tag "$1" . 2>&1 | tail -n 20
}

field() { "$docker" inspect --format "$1" tollhouse:built; }

# Not root, no shell, nothing but the program, its list and what the base has.
contents() {
    [[ $(field '{{.Config.User}}') == 65532:65532 ]]
    [[ $(field '{{index .Config.Labels "org.opencontainers.image.title"}}') == Tollhouse ]]
    "$docker" export "$("$docker" create tollhouse:built)" >"$scratch/image.tar"
    tar --list --verbose --numeric-owner --full-time --utc --file "$scratch/image.tar" >"$scratch/files"
    grep -E ' usr/bin/tollhouse$| usr/share/tollhouse/sbom.cdx.json$| var/lib/tollhouse/$' "$scratch/files"
    ! grep -E '/(sh|bash|dash|apt|dpkg)$' "$scratch/files" || fail "there is a shell or a package manager in it"
    grep -q '65532/65532 .* var/lib/tollhouse/$' "$scratch/files" || fail "the state is not the user's"
    grep -q " $(date --utc --date="@$epoch" '+%Y-%m-%d %H:%M:%S') usr/bin/tollhouse$" "$scratch/files" || fail "the program has another time than its sources"
    grep -q ' etc/ssl/certs/ca-certificates.crt$' "$scratch/files" || fail "there are no certificate authorities in it"
}

runs() {
    local run=("$docker" run --rm --network none --read-only --cap-drop ALL tollhouse:built)
    "${run[@]}" --version
    "${run[@]}" schema config | jq -e .properties.listeners >/dev/null
}

components() {
    tar --extract --to-stdout --file "$scratch/image.tar" usr/share/tollhouse/sbom.cdx.json >"$scratch/sbom.json"
    SOURCE_DATE_EPOCH=$epoch deploy/sbom.py | diff - "$scratch/sbom.json"
}

repeats() {
    tar --extract --to-stdout --file "$scratch/image.tar" usr/bin/tollhouse | sha256sum
    "$docker" builder prune --all --force >/dev/null
    build tollhouse:again
    "$docker" export "$("$docker" create tollhouse:again)" | tar --extract --to-stdout usr/bin/tollhouse | sha256sum >"$scratch/again"
    tar --extract --to-stdout --file "$scratch/image.tar" usr/bin/tollhouse | sha256sum | diff - "$scratch/again"
}

install_engine
engine_open
deploy/local-images.sh base
engine_start build
deploy/local-images.sh build
check build build tollhouse:built
check contents contents
check runs runs
check components components
[[ ${TWICE:-0} == 0 ]] || check repeats repeats
"$docker" images --format 'image: {{.Repository}}:{{.Tag}} {{.Size}}' tollhouse:built
"$docker" ps --all --quiet --filter status=created | xargs --no-run-if-empty "$docker" rm >/dev/null
conclude
