#!/usr/bin/env bash
# Holds deploy/kubernetes/crd and the documents of tests/data/crd against Kubernetes' own validation (its Go library), as an
# API server does when a definition or an object is created: structural schema, cost of validation rules, pruning, the rules.
set -euo pipefail
cd "$(dirname "$0")/crd"
command -v go >/dev/null || { echo "crd.sh: go is not installed" >&2; exit 1; }
go run . ../../deploy/kubernetes/crd ../data/crd/accepted ../data/crd/refused
