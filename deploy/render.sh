#!/usr/bin/env bash
# Writes what is made from something else in this directory, or says what is not as it would be made:
#   the chart's definitions, rules and dashboard, and the list of definitions, from kubernetes/crd, prometheus and grafana;
#   the kustomize base and overlays, from the chart.
#
#   render.sh            writes both; HELM names the program (.cache/deploy/bin/helm)
#   render.sh --check    compares both, and changes nothing; without Helm only the first
set -euo pipefail
cd "$(dirname "$0")"

helm=${HELM:-$PWD/../.cache/deploy/bin/helm}

# copies DIRECTORY: what the chart holds of other places, and the list of the definitions.
copies() {
    mkdir -p "$1/kubernetes"
    {
        printf '# The definitions of our kinds.\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n'
        printf '  - %s\n' kubernetes/crd/*.yaml | sed 's/kubernetes\///'
    } >"$1/kubernetes/kustomization.yaml"
    mkdir -p "$1/helm/tollhouse/crds" "$1/helm/tollhouse/files"
    cp kubernetes/crd/*.yaml "$1/helm/tollhouse/crds/"
    cp prometheus/rules.yaml grafana/tollhouse.json "$1/helm/tollhouse/files/"
}

# template VALUES TEMPLATE...: what the chart makes, without what says that Helm made it.
template() {
    local values=$1 shown=()
    shift
    for name in "$@"; do shown+=(--show-only "templates/$name.yaml"); done
    "$helm" template tollhouse helm/tollhouse --namespace tollhouse --kube-version 1.30.0 --set "$values" "${shown[@]}" |
        sed -e '/^# Source: /d' -e '/helm\.sh\/chart: /d' -e '/app\.kubernetes\.io\/managed-by: /d'
}

# manifests DIRECTORY: the kustomize files that are rendered; the kustomization.yaml beside them are written by hand.
manifests() {
    local to=$1/kustomize
    mkdir -p "$to/base" "$to/overlays/monitoring" "$to/overlays/restricted"
    template image.tag= rbac webhook controller admission >"$to/base/tollhouse.yaml"
    template monitoring.serviceMonitor.enabled=true,monitoring.podMonitor.enabled=true,monitoring.prometheusRule.enabled=true,monitoring.dashboard.enabled=true \
        monitoring >"$to/overlays/monitoring/monitoring.yaml"
    template networkPolicy.enabled=true networkpolicy >"$to/overlays/restricted/networkpolicy.yaml"
}

# same DIRECTORY: whether every file there is the one here, and definitions here are all there.
same() {
    local file status=0
    while read -r file; do
        diff -u "$file" "$1/$file" || status=1
    done < <(cd "$1" && find . -type f)
    for file in helm/tollhouse/crds/*; do
        [[ -e $1/$file ]] || { echo "$file is made from nothing" >&2; status=1; }
    done
    [[ $status -eq 0 ]] || echo "deploy/render.sh writes them anew" >&2
    return $status
}

case "${1-} $#" in
    " 0")
        copies .
        manifests .
        ;;
    "--check 1")
        made=$(mktemp -d)
        trap 'rm -rf "$made"' EXIT
        copies "$made"
        # The rendered manifests hold the copies, so those come first.
        if [[ -x $helm ]]; then manifests "$made"; else echo "without Helm the kustomize files were not compared" >&2; fi
        same "$made"
        ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
