#!/usr/bin/env bash
# Makes stand-ins for the public images that deploy/docker-compose.yaml and deploy/Dockerfile name, under the same names, for
# machines that can reach Debian's archive but no image registry. They are Debian 12 with Debian's own packages: the files here
# run on them unchanged, but the versions are Debian's. Grafana is not in Debian: there is no stand-in for it.
#
#   local-images.sh base            a Debian 12 in .cache/deploy/bookworm.tar, made by debootstrap (as root)
#   local-images.sh compose BINARY  what docker-compose.yaml needs; tollhouse:local holds BINARY
#   local-images.sh build           the two base images of deploy/Dockerfile: distroless, and Rust as it is installed here
#
# DOCKER_HOST names the engine; DOCKER the client. Builds use the host's network.
set -euo pipefail
cd "$(dirname "$0")/.."

docker=${DOCKER:-docker}
base=.cache/deploy/bookworm.tar
bookworm=tollhouse-stand-in:bookworm
prometheus=$(sed -n 's/^ *image: \(prom\/.*\)$/\1/p' deploy/docker-compose.yaml)
rust=$(sed -n 's/^ARG RUST_IMAGE=//p' deploy/Dockerfile)
distroless=$(sed -n 's/^ARG BASE_IMAGE=//p' deploy/Dockerfile)
install='apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends'

say() { printf 'images: %s\n' "$*" >&2; }

make_base() {
    [[ ! -e $base ]] || return 0
    say "a Debian 12, by debootstrap"
    local root
    root=$(mktemp -d "${TMPDIR:-/tmp}/bookworm.XXXXXX")
    # shellcheck disable=SC2064 # the directory is known now
    trap "rm -rf '$root'" EXIT
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root" >"$root.log" || { tail "$root.log" >&2; exit 1; }
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root.log"
    # Whom this machine trusts, its network's own authorities among them.
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    mkdir -p "$(dirname "$base")"
    tar -C "$root" -cf "$base.part" .
    mv "$base.part" "$base"
}

load_base() {
    [[ -n $("$docker" images --quiet "$bookworm") ]] || "$docker" import "$base" "$bookworm" >/dev/null
}

# image NAME DIRECTORY: builds what standard input says, with the files of the directory.
image() {
    say "$1"
    "$docker" build --quiet --network host --tag "$1" --file - "$2" >/dev/null
}

empty() {
    mkdir -p .cache/deploy/empty
    echo .cache/deploy/empty
}

distroless_stand_in() {
    image "$distroless" "$(empty)" <<DOCKERFILE
FROM $bookworm AS debian
RUN mkdir -p /image/tmp /image/etc/ssl /image/lib/x86_64-linux-gnu /image/lib64 \
    && cp -a /etc/ssl/certs /image/etc/ssl/ && cp -a /usr/share/ca-certificates /image/ \
    && for file in libc.so.6 libm.so.6 libgcc_s.so.1 libdl.so.2 libpthread.so.0 libnss_dns.so.2 libnss_files.so.2 libresolv.so.2; do \
           cp -L /lib/x86_64-linux-gnu/\$file /image/lib/x86_64-linux-gnu/; done \
    && cp -L /lib64/ld-linux-x86-64.so.2 /image/lib64/ \
    && mkdir -p /image/usr/share && mv /image/ca-certificates /image/usr/share/ \
    && echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >/image/etc/passwd \
    && echo 'nonroot:x:65532:' >/image/etc/group && chmod 1777 /image/tmp
FROM scratch
COPY --from=debian /image /
USER 65532
DOCKERFILE
}

postgres_stand_in() {
    image postgres:15 "$(empty)" <<DOCKERFILE
FROM $bookworm
RUN mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf \
    && $install postgresql-15
DOCKERFILE
}

prometheus_stand_in() {
    image "$prometheus" "$(empty)" <<DOCKERFILE
FROM $bookworm
RUN $install prometheus && install --directory --owner=nobody /prometheus
USER nobody
ENTRYPOINT ["/usr/bin/prometheus"]
DOCKERFILE
}

dbt_image() {
    image python:3.11-slim-bookworm "$(empty)" <<DOCKERFILE
FROM $bookworm
RUN $install python3 python3-venv
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
DOCKERFILE
    say tollhouse-dbt:local
    "$docker" build --quiet --network host --tag tollhouse-dbt:local --file deploy/compose/dbt.Dockerfile . >/dev/null
}

# The layout that deploy/Dockerfile gives it, around a program that is built already.
tollhouse_image() {
    local context=.cache/deploy/tollhouse
    rm -rf "$context"
    mkdir -p "$context/state"
    strip --strip-all -o "$context/tollhouse" "$1"
    image tollhouse:local "$context" <<DOCKERFILE
FROM $distroless
COPY tollhouse /usr/bin/tollhouse
COPY --chown=65532:65532 state /var/lib/tollhouse
USER 65532:65532
ENTRYPOINT ["/usr/bin/tollhouse"]
CMD ["run", "--config", "/etc/tollhouse/tollhouse.yaml"]
DOCKERFILE
}

rust_stand_in() {
    local context=.cache/deploy/rust toolchain
    toolchain=$(rustc --print sysroot)
    rm -rf "$context"
    mkdir -p "$context"
    tar -C "$toolchain" -cf "$context/toolchain.tar" bin lib libexec
    image "$rust" "$context" <<DOCKERFILE
FROM $bookworm
RUN $install gcc g++ libc6-dev make
ADD toolchain.tar /usr/local/
ENV CARGO_HOME=/usr/local/cargo CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt
DOCKERFILE
    rm -rf "$context"
}

case "${1-} $#" in
    "base 1") make_base ;;
    "compose 2")
        load_base
        distroless_stand_in
        tollhouse_image "$2"
        postgres_stand_in
        prometheus_stand_in
        dbt_image
        ;;
    "build 1")
        load_base
        distroless_stand_in
        rust_stand_in
        ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
