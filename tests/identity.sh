#!/usr/bin/env bash
# Identities and exchanges against real software that is not ours: each bed installs a program by its package's name, starts it on
# loopback, and lets a client log in through the sidecar with what the program gives.
#
# Usage: tests/identity.sh [BED...]    those named; `gate` is those that need no large program, without any it is every one
#
# TOLLHOUSE_BINARY names the program. Each bed ends with `BED: N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/.."

beds=(moto oidc-provider short-lived keycloak spire vault postgres18)
case "$*" in
    '') ;;
    gate)
        beds=(moto)
        if command -v node >/dev/null; then beds+=(oidc-provider); else echo "SKIPPED oidc-provider: Node.js is not installed" >&2; fi
        ;;
    *) beds=("$@") ;;
esac
failed=()
for bed in "${beds[@]}"; do
    case $bed in
        postgres18) script=tests/postgres18.sh ;;
        *) script=tests/identity/$bed.sh ;;
    esac
    [[ -x $script ]] || { echo "no bed is called $bed" >&2; exit 2; }
    "$script" || failed+=("$bed")
done
[[ ${#failed[@]} -eq 0 ]] || { printf 'FAILED: %s\n' "${failed[*]}" >&2; exit 1; }
