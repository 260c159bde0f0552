#!/usr/bin/env bash
# Installs what the build, the demo and the test suites need beyond Rust, on Debian 12 or later.
# Quiet and quick when everything is there.
# Usage: tests/setup.sh            what `make test` needs
#        tests/setup.sh drivers    also what `make test-drivers` needs; fails where a toolchain is missing
#        tests/setup.sh warehouses also what `make test-warehouses` needs, but for the warehouses themselves
#        tests/setup.sh WAREHOUSE  also what its bed of tests/warehouses.sh needs: athena, bigquery, clickhouse, databricks, snowflake, spark
#        tests/setup.sh fuzz       also what `make fuzz` needs
#        tests/setup.sh deploy     also what `make test-deploy` needs
#        tests/setup.sh kubernetes   also what `make test-kubernetes` needs: builds Kubernetes' own programs
#        tests/setup.sh BED        also what a bed of tests/identity.sh needs: moto, oidc-provider, keycloak, spire, vault
set -euo pipefail
cd "$(dirname "$0")/.."

keycloak=26.4.5
pgjdbc=org.postgresql:postgresql:42.7.8
cargo_fuzz=0.13.2
helm=3.22.0
kustomize=5.8.2

# Package, and the file or command that shows it is there. libclang is for the bindings of PostgreSQL's parser,
# gcc, make and cmake for the C libraries that crates build; bzip2 and libpq-dev for PostgreSQL's own test suites.
needs=(
    "gcc            command:gcc"
    "make           command:make"
    "cmake          command:cmake"
    "curl           command:curl"
    "libclang-dev   file:/usr/lib/llvm-*/lib/libclang*.so"
    "libc6-dev      file:/usr/include/stdio.h"
    "bzip2          command:bzip2"
    "libpq-dev      file:/usr/include/postgresql/libpq-fe.h"
    "postgresql     file:/usr/lib/postgresql/*/bin/postgres"
    "python3-venv   module:ensurepip"
    "jq             command:jq"
    "openssl        command:openssl"
)

# libFuzzer is in C++.
if [[ ${1-} == fuzz ]]; then needs+=("g++ command:g++"); fi
# What a kube-apiserver keeps its objects in.
if [[ ${1-} == kubernetes ]]; then needs+=("etcd-server command:etcd"); fi

# promtool, and the server that a dashboard's queries are put to; Debian starts no service of it here.
if [[ ${1-} == deploy ]]; then needs+=("prometheus command:promtool"); fi

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
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# once NAME FILE... : runs install_NAME unless it ran already with these files, as they are, and this script.
once() {
    local name=$1 stamp=.cache/$1.stamp wanted
    shift
    wanted=$(cat "$0" "$@" | sha256sum)
    [[ $(cat "$stamp" 2>/dev/null) != "$wanted" ]] || return 0
    say "installing: $name"
    mkdir -p .cache
    rm -f "$stamp"
    "install_$name"
    printf '%s\n' "$wanted" >"$stamp"
}

python_environment() {
    rm -rf "$1"
    python3 -m venv "$1"
    "$1/bin/pip" install --quiet --disable-pip-version-check --requirement "$2"
}

# dbt and the Python drivers of the gate.
install_venv() { python_environment .cache/venv tests/requirements.txt; }

# The other Python drivers; apart, because their many needs are not dbt's.
install_drivers() { python_environment .cache/drivers-venv tests/drivers/requirements.txt; }

# node-postgres.
install_node() {
    rm -rf .cache/node
    mkdir .cache/node
    cp tests/drivers/node/package.json tests/drivers/node/package-lock.json .cache/node
    npm --prefix .cache/node ci --silent
}

# The dbt adapters and client libraries of the HTTP warehouses; apart, since their needs are not those of the gate.
install_warehouses() { python_environment .cache/warehouses-venv tests/warehouses/requirements.txt; }

# The same for those whose adapters cannot share an environment with others, with what plays the warehouse where that is Python's.
install_athena() { warehouse_environment athena; }
install_bigquery() { warehouse_environment bigquery; }
install_clickhouse() { warehouse_environment clickhouse; }
install_databricks() { warehouse_environment databricks; }
install_snowflake() { warehouse_environment snowflake; }
install_spark() { warehouse_environment spark; }
warehouse_environment() { python_environment ".cache/$1-venv" "tests/warehouses/$1/requirements.txt"; }

# The session of pgx, built.
install_go() { go build -C tests/drivers/go -trimpath -o "$PWD/.cache/go/session" .; }

# cargo-fuzz; in .cache, so that no other project's version is touched.
install_fuzz() { cargo install cargo-fuzz --version "$cargo_fuzz" --locked --quiet --root .cache/cargo-fuzz; }

# Helm and kustomize, by the Go module proxy; and what knows the schema of CycloneDX.
install_deploy() {
    GOBIN=$PWD/.cache/deploy/bin nice go install -trimpath -ldflags='-s -w' "helm.sh/helm/v3/cmd/helm@v$helm"
    GOBIN=$PWD/.cache/deploy/bin nice go install -trimpath -ldflags='-s -w' "sigs.k8s.io/kustomize/kustomize/v5@v$kustomize"
    python_environment .cache/deploy/venv tests/deploy/requirements.txt
}

# PostgreSQL's JDBC driver; Java runs the session from its source.
install_java() {
    rm -rf .cache/java
    mvn --quiet --batch-mode org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
        -Dartifact="$pgjdbc" -DoutputDirectory="$PWD/.cache/java" -Dmdep.stripVersion=true
}

# moto, which plays AWS, and what judges tokens.
install_identity() { python_environment .cache/identity tests/identity/requirements.txt; }

install_oidc_provider() {
    rm -rf .cache/oidc-provider
    mkdir .cache/oidc-provider
    cp tests/identity/oidc-provider/package.json tests/identity/oidc-provider/package-lock.json .cache/oidc-provider
    npm --prefix .cache/oidc-provider ci --silent
}

# Keycloak, built for what its bed turns on, so that it starts in seconds.
install_keycloak() {
    rm -rf .cache/keycloak
    mvn --quiet --batch-mode org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
        -Dartifact="org.keycloak:keycloak-quarkus-dist:$keycloak:zip" -DoutputDirectory="$PWD/.cache/keycloak"
    (cd .cache/keycloak && python3 -m zipfile -e ./*.zip . && rm ./*.zip && mv keycloak-* home && chmod +x home/bin/kc.sh)
    mkdir -p .cache/keycloak/home/data/import
    cp tests/identity/keycloak/realm.json .cache/keycloak/home/data/import/
    .cache/keycloak/home/bin/kc.sh build --db=dev-mem --features=client-auth-federated >.cache/keycloak/build.log
}

# Both take a while: they are large programs.
install_spire() {
    nice -n 15 go build -C tests/identity/spire -trimpath -ldflags='-s -w' -o "$PWD/.cache/spire/" \
        github.com/spiffe/spire/cmd/spire-agent github.com/spiffe/spire/cmd/spire-server
}
# The same is true of Kubernetes: half an hour.
install_kubernetes() {
    nice -n 15 go build -C tests/kubernetes -trimpath -ldflags='-s -w' -o "$PWD/.cache/kubernetes/" \
        k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager k8s.io/kubernetes/cmd/kubectl
}
install_vault() { nice -n 15 go build -C tests/identity/vault -trimpath -ldflags='-s -w' -o "$PWD/.cache/vault/server" .; }

# expect COMMAND...: of the toolchains that no Debian release brings in the version that is needed, or that are too large to
# install unasked.
expect() {
    local command missing=()
    for command in "$@"; do
        command -v "$command" >/dev/null || missing+=("$command")
    done
    [[ ${#missing[@]} -eq 0 ]] || { say "this needs ${missing[*]}: Node.js 20, Go 1.25, Java 17, Maven 3.8 or later"; exit 1; }
}

install_packages
once venv tests/requirements.txt
case ${1-} in
    '')
        # Node.js is not required here: without it tests/drivers.sh skips node-postgres, and says so.
        if command -v npm >/dev/null; then once node tests/drivers/node/package-lock.json; fi
        ;;
    drivers)
        expect npm node go java mvn
        once node tests/drivers/node/package-lock.json
        once drivers tests/drivers/requirements.txt
        once go tests/drivers/go/*
        once java
        ;;
    warehouses) once warehouses tests/warehouses/requirements.txt ;;
    athena | bigquery | clickhouse | databricks | snowflake | spark) once "$1" "tests/warehouses/$1/requirements.txt" ;;
    fuzz) once fuzz ;;
    deploy)
        expect go
        once deploy tests/deploy/requirements.txt
        ;;
    kubernetes)
        expect go
        once kubernetes tests/kubernetes/go.{mod,sum}
        ;;
    moto) once identity tests/identity/requirements.txt ;;
    oidc-provider | keycloak | spire | vault)
        once identity tests/identity/requirements.txt
        case $1 in
            oidc-provider) expect npm node && once oidc_provider tests/identity/oidc-provider/package-lock.json ;;
            keycloak) expect java mvn && once keycloak tests/identity/keycloak/realm.json ;;
            spire) expect go && once spire tests/identity/spire/go.{mod,sum} ;;
            vault) expect go && once vault tests/identity/vault/{go.mod,go.sum,main.go} ;;
        esac
        ;;
    *)
        sed -n '4,11s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
