#!/usr/bin/env bash
# Lets each fuzz target look for inputs that break a promise, for FUZZ_SECONDS (default 60) each.
# Usage: tests/fuzz.sh [TARGET...]; KEEP=1 takes what was found worth keeping into fuzz/corpus, minimised.
# Ends with `fuzz: N passed, M failed`. A crash is kept in fuzz/artifacts, and how to repeat it is printed.
#
# The targets are built without a sanitizer, which the pinned stable toolchain can do: no nightly one is needed.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.cache/cargo-fuzz/bin:$PATH

seconds=${FUZZ_SECONDS:-60}
passed=0 failed=0

# binary TARGET: the program that cargo-fuzz has built.
binary() {
    printf 'fuzz/target/%s/release/%s' "$(rustc --print host-tuple)" "$1"
}

# fuzz TARGET: new inputs go to .cache, so that a run leaves the repository as it was.
fuzz() {
    local target=$1 found=.cache/fuzz/$1/corpus output=.cache/fuzz/$1/output
    mkdir -p "$found" "fuzz/artifacts/$target" "fuzz/cases/$target"
    if "$(binary "$target")" -max_total_time="$seconds" -timeout=30 -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$target/" \
        "$found" "fuzz/corpus/$target" "fuzz/cases/$target" >"$output" 2>&1; then
        printf 'ok %-9s %s executions in %s s; coverage %s, %s inputs\n' "$target" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$output")" "$seconds" \
            "$(sed -nE 's/.* cov: ([0-9]+).*/\1/p' "$output" | tail -n 1)" "$(sed -nE 's/.* corp: ([0-9]+).*/\1/p' "$output" | tail -n 1)"
        passed=$((passed + 1))
    else
        tail -n 40 "$output" >&2
        printf 'FAILED: %s; to repeat it: %s %s\n' "$target" "$(binary "$target")" \
            "$(sed -n 's/.*Test unit written to //p' "$output" | tail -n 1)" >&2
        failed=$((failed + 1))
    fi
}

# keep TARGET: few inputs that reach every place that all of them reach, however often.
keep() {
    local target=$1 kept=fuzz/corpus/$1
    rm -rf "$kept.new"
    mkdir -p "$kept.new"
    "$(binary "$target")" -set_cover_merge=1 -use_counters=0 -timeout=30 "$kept.new" "$kept" ".cache/fuzz/$target/corpus" >/dev/null 2>&1
    rm -rf "$kept"
    mv "$kept.new" "$kept"
    printf 'kept %s inputs of %s\n' "$(find "$kept" -type f | wc -l)" "$target"
}

tests/setup.sh fuzz
mapfile -t targets < <(if [[ $# -gt 0 ]]; then printf '%s\n' "$@"; else cargo fuzz list; fi)
cargo fuzz build --sanitizer none
for target in "${targets[@]}"; do
    fuzz "$target"
    if [[ -n ${KEEP-} ]]; then keep "$target"; fi
done
printf 'fuzz: %d passed, %d failed\n' "$passed" "$failed"
[[ $failed -eq 0 ]]
