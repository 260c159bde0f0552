#!/usr/bin/env bash
# Puts together PostgreSQL's own test suites for the server that is installed here, of the same minor version to the
# letter, and prints the directory: regress/ and isolation/ (schedules, inputs, expected outputs), lib/ (what the
# regression suite has the server load) and pipeline/ (libpq's pipeline test, with the traces that it should leave).
# Source and headers come from the package archive that this machine already trusts; nothing is installed, and no list
# of the system is touched. Quick when everything is there. Usage: tests/regress/kit.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf 'regress: %s\n' "$*" >&2; }

bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1)
[[ -n $bin ]] || { say "PostgreSQL is not installed; run tests/setup.sh"; exit 1; }
major=$(basename "$(dirname "$bin")")
version=$(dpkg-query --show --showformat='${Version}' "postgresql-$major")
# The runner and psql are the client package's: a suite of another minor version than these loses tests.
client=$(dpkg-query --show --showformat='${Version}' "postgresql-client-$major")
[[ $client == "$version" ]] || { say "postgresql-$major is $version and postgresql-client-$major is $client; install one version of both"; exit 1; }

cache=$PWD/.cache/regress
kit=$cache/$version
wanted=$version-$(sha256sum <"$0")

# The sources of this machine, with source packages too, and lists of our own.
apt() {
    apt-get -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$cache/apt/sources" \
        -o Dir::State::Lists="$cache/apt/lists" -o Dir::Cache="$cache/apt" -o Acquire::Languages=none \
        -o APT::Sandbox::User="$(id -un)" "$@" >&2
}

read_archive() {
    local file
    rm -rf "$cache/apt"
    mkdir -p "$cache/apt/sources" "$cache/apt/lists/partial" "$cache/apt/archives/partial"
    for file in /etc/apt/sources.list.d/*.sources; do
        [[ ! -f $file ]] || sed 's/^Types:.*/Types: deb deb-src/' "$file" >"$cache/apt/sources/${file##*/}"
    done
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [[ ! -f $file ]] || sed -n 's/^deb[[:space:]]\(.*\)/deb \1\ndeb-src \1/p' "$file" >"$cache/apt/sources/${file##*/}.list"
    done
    apt update
}

fetch() {
    say "fetching the source of postgresql-$major $version"
    read_archive
    if ! (cd "$1" && apt source --download-only "postgresql-$major=$version" && apt download "postgresql-server-dev-$major=$version"); then
        say "the archive no longer has version $version; upgrade with apt-get install postgresql-$major postgresql-client-$major"
        exit 1
    fi
}

build() {
    local dir=$1 library
    local include=(-I "$dir/usr/include/postgresql/$major/server" -I /usr/include/postgresql/internal -I /usr/include/postgresql)
    local static=$dir/usr/lib/postgresql/$major/lib
    tar --extract --no-same-owner --file "$(compgen -G "$dir/*.orig.tar.*")" --directory "$dir" --strip-components 3 \
        --wildcards '*/src/test/regress' '*/src/test/isolation' '*/src/test/modules/libpq_pipeline'
    dpkg-deb --extract "$(compgen -G "$dir/*.deb")" "$dir"
    mkdir "$dir/kit" "$dir/kit/lib"
    mv "$dir/regress" "$dir/isolation" "$dir/kit/"
    mv "$dir/modules/libpq_pipeline" "$dir/kit/pipeline"
    gcc -O1 -fPIC -shared "${include[@]}" -o "$dir/kit/lib/regress.so" "$dir/kit/regress/regress.c"
    # Two trigger functions that the suite expects beside its own library.
    for library in refint autoinc; do
        cp "$(dirname "$bin")/lib/$library.so" "$dir/kit/lib/"
    done
    gcc -O1 "${include[@]}" -o "$dir/kit/pipeline/libpq_pipeline" "$dir/kit/pipeline/libpq_pipeline.c" \
        "$static/libpgcommon.a" "$static/libpgport.a" -lpq -lm
}

if [[ $(cat "$kit/stamp" 2>/dev/null) != "$wanted" ]]; then
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    fetch "$work"
    build "$work"
    rm -rf "$kit" "$cache/apt"
    mv "$work/kit" "$kit"
    printf '%s\n' "$wanted" >"$kit/stamp"
fi
printf '%s\n' "$kit"
