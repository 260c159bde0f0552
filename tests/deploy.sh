#!/usr/bin/env bash
# What lies in deploy/, without a cluster: the chart, the kustomize files, Prometheus' rules, the dashboard and the list of components.
# Usage: make test-deploy          everything; what it needs is installed by tests/setup.sh deploy
#        tests/deploy.sh gate      what needs no tool that the gate does not have
# KUBE_APISERVER names a kube-apiserver (.cache/kubernetes/kube-apiserver): where it is, with etcd and kubectl, it judges the manifests
# too. Ends with `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/.."
source deploy/demo/stage.sh

helm=.cache/deploy/bin/helm kustomize=.cache/deploy/bin/kustomize python=.cache/deploy/venv/bin/python
apiserver=${KUBE_APISERVER:-.cache/kubernetes/kube-apiserver}
chart=deploy/helm/tollhouse
versions=(1.27.0 1.30.0 1.34.0)

# render VALUES [VERSION]: the chart with a file of values.
render() { "$helm" template tollhouse "$chart" --namespace tollhouse --include-crds --kube-version "${2:-1.30.0}" --values "$1"; }

# Each file of values, and the defaults.
values() { printf '%s\n' tests/deploy/values/*.yaml /dev/null; }

lint() {
    local file
    for file in $(values); do
        "$helm" lint --strict --quiet --kube-version 1.30.0 --values "$file" "$chart"
    done
}

templates() {
    local file version
    for file in $(values); do
        for version in "${versions[@]}"; do
            render "$file" "$version" | "$python" tests/deploy/manifests.py tollhouse
        done
    done
    ! render /dev/null 1.26.0 || fail "Kubernetes 1.26 was taken"
}

# Each file of refused values says in its first line what the refusal names.
refused_values() {
    local file said expected
    for file in tests/deploy/refused/*.yaml; do
        expected=$(sed -n '1s/^# //p' "$file")
        ! said=$(render "$file" 2>&1) || fail "$file was taken"
        grep -qF "$expected" <<<"$said" || fail "$file: the refusal does not name '$expected': $said"
    done
}

# Every setting of values.yaml is one that the schema knows, and the other way round.
schema_is_whole() {
    "$python" - "$chart" <<'PY'
import json, sys, yaml
chart = sys.argv[1]
schema = json.load(open(f"{chart}/values.schema.json"))
values = yaml.safe_load(open(f"{chart}/values.yaml"))
def keys(schema, root):
    if "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rsplit("/", 1)[1]]
    return {name: keys(below, root) for name, below in schema.get("properties", {}).items()}
def compare(known, given, path):
    for name in known.keys() | (given.keys() if isinstance(given, dict) else set()):
        if name == "global" and not path:
            continue
        if name not in known:
            # What has no properties in the schema is free, such as labels.
            assert not known, f"{path}{name} is not in the schema"
        elif not isinstance(given, dict) or name not in given:
            raise AssertionError(f"{path}{name} is not in values.yaml")
        else:
            compare(known[name], given[name], f"{path}{name}.")
compare(keys(schema, schema), values, "")
PY
}

overlays() {
    local directory
    for directory in base overlays/monitoring overlays/restricted; do
        "$kustomize" build "deploy/kustomize/$directory" | "$python" tests/deploy/manifests.py tollhouse
    done
    # The base is the chart with its default values.
    diff <("$kustomize" build deploy/kustomize/base | kinds | grep -v '^Namespace ') <(render /dev/null | kinds)
}

kinds() { "$python" -c 'import sys, yaml; print("\n".join(sorted(f"{d[\"kind\"]} {d[\"metadata\"][\"name\"]}" for d in yaml.safe_load_all(sys.stdin) if d)))'; }

# The configurations in the ConfigMaps are ones that the program takes.
configurations() {
    local file
    for file in $(values); do
        render "$file" | "$python" -c '
import sys, yaml
maps = {d["metadata"]["name"]: d["data"] for d in yaml.safe_load_all(sys.stdin) if d and d["kind"] == "ConfigMap"}
print(maps["tollhouse-webhook"]["webhook.yaml"])' >"$scratch/webhook.yaml"
        "$tollhouse" webhook --config "$scratch/webhook.yaml" --dry-run tests/deploy/pod.yaml --binding tests/deploy/binding.yaml --output patch >"$scratch/patch.json"
        jq -e 'length > 0' "$scratch/patch.json" >/dev/null || fail "no sidecar with the values of $file"
    done
}

rules() {
    promtool check rules deploy/prometheus/rules.yaml
    promtool check config --syntax-only deploy/compose/prometheus.yaml
    promtool test rules tests/deploy/rules_test.yaml
}

# Each alert fires in a test, and stays quiet in another.
alerts_are_tested() {
    local alert
    while read -r alert; do
        [[ $(grep -A1 "alertname: $alert\$" tests/deploy/rules_test.yaml | grep -c exp_alerts) -ge 1 ]] || fail "$alert fires in no test"
        grep -q "{ eval_time: .*alertname: $alert }" tests/deploy/rules_test.yaml || fail "$alert is quiet in no test"
    done < <(sed -n 's/^ *- alert: //p' deploy/prometheus/rules.yaml)
}

names() { tests/deploy/dashboard.py deploy/grafana/tollhouse.json; }

start_prometheus() {
    prometheus=http://127.0.0.1:$(free_port)
    sed -e "s/tollhouse:15020/127.0.0.1:$TOLLHOUSE_ADMIN_PORT/" -e "s#/etc/prometheus/rules.yaml#$PWD/deploy/prometheus/rules.yaml#" \
        deploy/compose/prometheus.yaml >"$scratch/prometheus.yaml"
    start_other prometheus prometheus --config.file="$scratch/prometheus.yaml" --storage.tsdb.path="$scratch/prometheus" \
        --web.listen-address="${prometheus#http://}"
}

# A real Prometheus that scrapes the real sidecar of a real dbt run answers every query of the dashboard.
dashboard() {
    dbt_run proxied first build
    ! psql_through --command='select * from finance.salaries' 2>"$scratch/refused.out" || fail "finance.salaries was read"
    # Rates need two scrapes behind the last statement.
    sleep 6
    tests/deploy/dashboard.py deploy/grafana/tollhouse.json "$prometheus"
    curl --silent --fail --max-time 5 "$prometheus/api/v1/rules" >"$scratch/rules.json"
    [[ $(jq '[.data.groups[].rules[] | select(.health != "ok")] | length' "$scratch/rules.json") -eq 0 ]] || fail "a rule has an error: $(cat "$scratch/rules.json")"
    [[ $(jq '[.data.groups[].rules[] | select(.state == "firing")] | length' "$scratch/rules.json") -eq 0 ]] || fail "an alert fires"
}

# The same sources give the same list, byte for byte.
sbom_repeats() {
    SOURCE_DATE_EPOCH=0 deploy/sbom.py >"$scratch/sbom.json"
    SOURCE_DATE_EPOCH=0 deploy/sbom.py >"$scratch/sbom-again.json"
    cmp "$scratch/sbom.json" "$scratch/sbom-again.json"
}

sbom() { "$python" tests/deploy/sbom.py <"$scratch/sbom.json"; }

# A real API server takes every object as if it were created; the kinds of other programs it does not know.
judged_by_apiserver() {
    local kubectl=(kubectl --kubeconfig "$scratch/cluster/kubeconfig") file
    "${kubectl[@]}" apply --server-side --filename deploy/kubernetes/crd
    "${kubectl[@]}" apply --filename deploy/kustomize/base/namespace.yaml
    for file in $(values); do
        render "$file" | known_kinds | "${kubectl[@]}" create --dry-run=server --filename - 2>&1 | tee "$scratch/judged"
        # Of a field that it does not know, or of a pod that the namespace would not run.
        ! grep '^Warning' "$scratch/judged" || fail "the API server warns"
    done
}

# Without what the Prometheus operator and cert-manager define, and without the definitions, which are there.
known_kinds() {
    "$python" -c '
import sys, yaml
foreign = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "Certificate", "CustomResourceDefinition"}
yaml.safe_dump_all([d for d in yaml.safe_load_all(sys.stdin) if d and d["kind"] not in foreign], sys.stdout)'
}

stage_open
check names names
check sources deploy/render.sh --check
check sbom-repeats sbom_repeats
if [[ ${1-} != gate ]]; then
    tests/setup.sh deploy
    check lint lint
    check templates templates
    check refused-values refused_values
    check schema-is-whole schema_is_whole
    check overlays overlays
    check rules rules
    check alerts-are-tested alerts_are_tested
    check sbom sbom
    check configurations configurations
    start_dev
    start_warehouse
    start_sidecar
    start_prometheus
    check dashboard dashboard
    stop_sidecar
    if [[ -x $apiserver ]] && command -v etcd kubectl >/dev/null; then
        start_other apiserver tests/deploy/apiserver.sh start "$apiserver" "$scratch/cluster"
        PATIENCE=120 wait_for kube-apiserver "${others[-1]}" test -e "$scratch/cluster/ready"
        check apiserver judged_by_apiserver
    else
        echo "deploy: no kube-apiserver, etcd and kubectl, so none judged the manifests" >&2
    fi
fi
conclude
