#!/usr/bin/env bash
# A real kube-apiserver, kube-controller-manager and etcd on loopback: CustomResourceDefinitions, webhooks, controller, RBAC and tokens
# are what they are in a cluster. There is no kubelet: what runs is the sidecar's program, from the ConfigMap and with the token that
# its pod would mount. Prints `ok PART` for each part.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/setup.sh kubernetes
source deploy/demo/stage.sh

bin=.cache/kubernetes
image=registry.example.com/tollhouse:test
ok() { printf 'ok %s\n' "$*"; }
k() { "$bin/kubectl" --kubeconfig="$scratch/admin.kubeconfig" "$@"; }

# refused TEXT COMMAND...: the command fails, and says the text.
refused() {
    local text=$1 said
    shift
    if said=$("$@" 2>&1); then fail "taken, and should be refused with '$text': $said"; fi
    [[ $said == *"$text"* ]] || fail "expected '$text', got: $said"
}

# within SECONDS COMMAND...: it succeeds before they have passed.
within() {
    local _ seconds=$1
    shift
    for _ in $(seq $((seconds * 5))); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.2
    done
    fail "not within $seconds s: $*"
}

make_certificates() {
    local pki=$scratch/pki
    mkdir "$pki"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=cluster-ca \
        -addext basicConstraints=critical,CA:TRUE -keyout "$pki/ca.key" -out "$pki/ca.crt" 2>"$scratch/openssl.out"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=kube-apiserver \
        -keyout "$pki/api.key" -out "$pki/api.csr" 2>>"$scratch/openssl.out"
    openssl x509 -req -in "$pki/api.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 2 -out "$pki/api.crt" \
        -extfile <(printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE') 2>>"$scratch/openssl.out"

    openssl genrsa -out "$pki/accounts.key" 2048 2>"$scratch/genrsa.out"
    openssl rand -hex 24 >"$pki/admin.token"
    printf '%s,admin,admin,"system:masters"\n' "$(cat "$pki/admin.token")" >"$pki/tokens.csv"
}

start_cluster() {
    local etcd_port peer_port pki=$scratch/pki
    read -r etcd_port peer_port api_port <<<"$(free_port) $(free_port) $(free_port)"
    issuer=https://localhost:$api_port
    start_other etcd etcd --data-dir "$scratch/etcd" --listen-client-urls "http://127.0.0.1:$etcd_port" \
        --advertise-client-urls "http://127.0.0.1:$etcd_port" --listen-peer-urls "http://127.0.0.1:$peer_port" --unsafe-no-fsync
    start_other kube-apiserver "$bin/kube-apiserver" --etcd-servers="http://127.0.0.1:$etcd_port" --bind-address=127.0.0.1 \
        --advertise-address=127.0.0.1 --secure-port="$api_port" --service-cluster-ip-range=10.0.0.0/24 --authorization-mode=RBAC \
        --tls-cert-file="$pki/api.crt" --tls-private-key-file="$pki/api.key" --client-ca-file="$pki/ca.crt" \
        --token-auth-file="$pki/tokens.csv" --service-account-issuer="$issuer" --service-account-jwks-uri="$issuer/openid/v1/jwks" \
        --service-account-key-file="$pki/accounts.key" --service-account-signing-key-file="$pki/accounts.key" \
        --endpoint-reconciler-type=none
    apiserver_pid=${others[-1]}
    PATIENCE=120 wait_for kube-apiserver "${others[-1]}" curl --silent --fail --cacert "$pki/ca.crt" --output /dev/null "$issuer/readyz"
    "$bin/kubectl" config --kubeconfig="$scratch/admin.kubeconfig" set-cluster here --server="$issuer" --certificate-authority="$pki/ca.crt" >/dev/null
    "$bin/kubectl" config --kubeconfig="$scratch/admin.kubeconfig" set-credentials admin --token="$(cat "$pki/admin.token")" >/dev/null
    "$bin/kubectl" config --kubeconfig="$scratch/admin.kubeconfig" set-context here --cluster=here --user=admin >/dev/null
    "$bin/kubectl" config --kubeconfig="$scratch/admin.kubeconfig" use-context here >/dev/null
}

# Makes Pods of Jobs, default service accounts and the ConfigMap with the cluster's authority.
start_controller_manager() {
    start_other kube-controller-manager "$bin/kube-controller-manager" --kubeconfig="$scratch/admin.kubeconfig" --secure-port=0 \
        --leader-elect=false --use-service-account-credentials=false --root-ca-file="$scratch/pki/ca.crt" \
        --service-account-private-key-file="$scratch/pki/accounts.key" \
        --controllers=serviceaccount-controller,root-ca-certificate-publisher-controller,job-controller,cronjob-controller,garbage-collector-controller,namespace-controller
}

# api_server ACCOUNT: the settings by which a program of ours reaches the API server with a token of its own.
api_server() {
    k create token "$1" --namespace tollhouse --duration 1h >"$scratch/$1.token"
    printf '{ server: "%s", token_file: %s, tls: { ca: %s } }' "$issuer" "$scratch/$1.token" "$scratch/pki/ca.crt"
}

# start_webhook NAME LIFETIME: a replica; its port is in webhook_port, that of its metrics in metrics_port.
start_webhook() {
    webhook_port=${3-$(free_port)} metrics_port=$(free_port)
    cat >"$scratch/$1.yaml" <<YAML
address: 127.0.0.1:$webhook_port
metrics_address: 127.0.0.1:$metrics_port
sidecar: { image: "$image" }
api_server: $(api_server webhook)
certificate:
  directory: $scratch/$1
  own: { names: [127.0.0.1, localhost], secret: tollhouse/tollhouse-webhook, mutating: [tollhouse], validating: [tollhouse], lifetime: $2 }
YAML
    start_other "$1" "$tollhouse" webhook --config "$scratch/$1.yaml"
    wait_for "$1" "${others[-1]}" curl --silent --fail --output /dev/null "http://127.0.0.1:$metrics_port/readyz"
}

start_controller() {
    printf 'issuer: "%s"\ninterval: 1s\naddress: 127.0.0.1:%s\napi_server: %s\n' "$issuer" "$(free_port)" "$(api_server controller)" >"$scratch/controller.yaml"
    start_other controller "$tollhouse" controller --config "$scratch/controller.yaml"
}

# pod NAME [JQ]: a plain pod of dbt's, as JSON, changed by the filter.
pod() {
    jq --null-input --arg name "$1" '{apiVersion: "v1", kind: "Pod", metadata: {name: $name, namespace: "dbt", labels: {app: "dbt"}},
        spec: {serviceAccountName: "dbt-runner", restartPolicy: "Never", containers: [{name: "dbt", image: "dbt:1", args: ["build"]}]}} | '"${2:-.}"
}
create() { pod "$@" | k create --filename=-; }

# stored NAME JQ: the filter holds for the pod as it is stored.
stored() {
    k get pod "$1" --namespace dbt --output json >"$scratch/stored.json" || fail "$1: cannot be read"
    jq --exit-status "$2" "$scratch/stored.json" >/dev/null || fail "$1: not $2: $(jq --compact-output .spec "$scratch/stored.json")"
}

# The definitions, and documents that the real schema and rules take or refuse.
definitions() {
    local document
    k apply --filename=deploy/kubernetes/crd >/dev/null
    k wait --for=condition=Established --timeout=30s crd --all >/dev/null
    k apply --filename=tests/kubernetes/rbac.yaml >/dev/null
    k apply --dry-run=server --namespace dbt --filename=tests/data/crd/accepted/binding.yaml --filename=tests/data/webhook/bindings.yaml >/dev/null
    csplit --quiet --prefix="$scratch/refused-" --elide-empty-files tests/data/crd/refused/binding.yaml '/^---$/' '{*}'
    for document in "$scratch"/refused-*; do
        refused invalid k create --dry-run=server --namespace dbt --filename="$document"
    done
    ok definitions
}

certificate_made() {
    local bundle
    sed "s/WEBHOOK/127.0.0.1:$1/" tests/kubernetes/webhooks.yaml | k apply --filename=- >/dev/null
    start_webhook webhook 24h "$1"
    bundle=$(k get secret tollhouse-webhook --namespace tollhouse --output 'jsonpath={.data.ca\.crt}')
    [[ -n $bundle ]] || fail "no authority in the Secret"
    for kind in mutating validating; do
        [[ $(k get "${kind}webhookconfiguration" tollhouse --output 'jsonpath={.webhooks[0].clientConfig.caBundle}') == "$bundle" ]] ||
            fail "caBundle of the $kind webhook is not the authority's"
    done
    [[ ! -e $scratch/webhook/ca.key ]] || fail "the authority's key lies in the directory"
    curl --silent "http://127.0.0.1:$metrics_port/metrics" | grep -q '^tollhouse_webhook_certificate_expiry_timestamp_seconds{certificate="serving"} 1' ||
        fail "no expiry metric"
    ok certificate
}

# condition KIND NAME VALUE TEXT
condition_is() {
    k get "$1" "$2" --namespace dbt --output json | jq --exit-status --arg status "$3" --arg text "$4" \
        '.status.conditions[0] | .type == "Valid" and .status == $status and (.message | contains($text))'
}
config_has() { k get configmap tollhouse-analytics --namespace dbt --output 'jsonpath={.data.policy\.yaml}' | grep -q "$1"; }

policy() {
    k apply --filename=- >/dev/null <<YAML
apiVersion: tollhouse.dev/v1alpha1
kind: WarehousePolicy
metadata: { name: $1, namespace: dbt }
spec: { endpointSelector: { matchLabels: { app: dbt } }, egress: [{ toFQDNs: [{ $2: localhost }], toPorts: [{ rules: { sql: [{ actions: [${3:-select}] }] } }] }] }
YAML
}

controller_compiles() {
    sed -e "s/WAREHOUSE_PORT/$warehouse_port/" -e "s#SCRATCH#$scratch#" tests/kubernetes/binding.yaml |
        jq --raw-input --slurp --rawfile ca "$TOLLHOUSE_DEV_DIR/ca.crt" --raw-output '. + "  files:\n    warehouse-ca.crt: |\n" + ($ca | split("\n") | map("      " + .) | join("\n"))' |
        k apply --filename=- >/dev/null
    policy read-only matchName
    start_controller
    within 10 condition_is warehousebinding analytics True ''
    within 10 condition_is warehousepolicy read-only True ''
    k get warehousepolicy read-only --namespace dbt --output json | jq --exit-status '.status.serviceAccounts == ["dbt/dbt-runner"] and (.status.digest | startswith("sha256:"))' >/dev/null ||
        fail "the policy's status does not say whom it concerns"
    config_has 'name: read-only' || fail "the policy is not in the ConfigMap"
    # A key that Kubernetes keeps and a sidecar refuses.
    policy broken matchNam >"$scratch/broken.out" 2>&1 || k apply --validate=false --filename=- >/dev/null <<'YAML'
apiVersion: tollhouse.dev/v1alpha1
kind: WarehousePolicy
metadata: { name: broken, namespace: dbt }
spec: { endpointSelectr: {}, endpointSelector: {}, egress: [] }
YAML
    within 10 condition_is warehousepolicy broken False endpointSelectr
    within 10 condition_is warehousebinding analytics False endpointSelectr
    config_has broken && fail "an invalid policy is in the ConfigMap"
    config_has 'name: read-only' || fail "the last valid policies are gone"
    k delete warehousepolicy broken --namespace dbt >/dev/null
    within 10 condition_is warehousebinding analytics True ''
    local began=$SECONDS
    policy read-only matchName 'select, insert'
    within 30 config_has insert
    ok "controller: a changed policy was in the ConfigMap after $((SECONDS - began)) s"
}

injected() {
    create plain >/dev/null
    stored plain '.spec.initContainers[0] | .name == "tollhouse" and .restartPolicy == "Always" and .image == "'$image'"'
    stored plain '[.spec.containers[0].env[].name] | contains(["DBT_HOST", "DBT_PORT", "PGHOST", "PGPORT", "DBT_WAREHOUSE_HOST"])'
    # The API token is dbt's alone, and the warehouse's token the sidecar's alone.
    stored plain '[.spec.initContainers[0].volumeMounts[].name] | all(startswith("tollhouse-"))'
    stored plain '[.spec.containers[0].volumeMounts[].name] | all(startswith("kube-api-access"))'
    # Nothing that was filled in on the way makes a second look want something else.
    k get warehousebinding analytics --namespace dbt --output yaml >"$scratch/binding.yaml"
    [[ $("$tollhouse" webhook --config "$scratch/webhook.yaml" --dry-run "$scratch/stored.json" --binding "$scratch/binding.yaml" --output patch 2>"$scratch/said") == '[]' ]] ||
        fail "a stored pod is patched again: $(cat "$scratch/said")"
    pod trial | k create --dry-run=server --output json --filename=- | jq --exit-status '.spec.initContainers[0].name == "tollhouse"' >/dev/null || fail "a dry run is not injected"
    ! k get pod trial --namespace dbt >"$scratch/trial" 2>&1 || fail "a dry run made a pod"
    k create --namespace dbt --filename=- >/dev/null <<'YAML'
apiVersion: batch/v1
kind: CronJob
metadata: { name: nightly }
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        metadata: { labels: { app: dbt } }
        spec: { serviceAccountName: dbt-runner, restartPolicy: Never, containers: [{ name: dbt, image: "dbt:1" }] }
YAML
    k create job now --namespace dbt --from=cronjob/nightly >/dev/null
    within 20 job_is_injected
    for name in argo airflow own-init; do
        sed 's/airflow-worker/dbt-runner/' "tests/data/webhook/pods/$name.yaml" | k create --namespace dbt --output json --filename=- |
            jq --exit-status '.spec.initContainers[0].name == "tollhouse"' >/dev/null || fail "$name is not injected"
    done
    ok injected
}
job_is_injected() { k get pods --namespace dbt --selector job-name=now --output json | jq --exit-status '.items[0].spec.initContainers[0].name == "tollhouse" and (.items[0].metadata.generateName | startswith("now-"))'; }

left_alone() {
    local said
    said=$(create bare '.spec.serviceAccountName = "analyst"' 2>&1 >/dev/null)
    [[ $said == *"the pod runs without the sidecar: no WarehouseBinding of namespace dbt"* ]] || fail "no warning: $said"
    create elsewhere '.metadata.namespace = "other" | .spec.serviceAccountName = "default"' >/dev/null
    k get pod elsewhere --namespace other --output json | jq --exit-status '.spec.initContainers == null' >/dev/null || fail "a pod of another namespace was changed"
    ok left-alone
}

refusals() {
    refused 'no WarehouseBinding of this namespace is for service account analyst' create r1 '.spec.serviceAccountName = "analyst" | .metadata.labels["tollhouse.dev/inject"] = "true"'
    refused 'did you mean analytics?' create r2 '.metadata.annotations["tollhouse.dev/binding"] = "analitics"'
    refused 'leave hostNetwork out' create r3 '.spec.hostNetwork = true'
    refused 'container dbt: variable PGPASSWORD hands a secret of libpq' create r4 '.spec.containers[0].env = [{name: "PGPASSWORD", value: "hunter2"}]'
    refused 'variable DBT_ENV_SECRET_PASSWORD' create r5 '.spec.containers[0].env = [{name: "DBT_ENV_SECRET_PASSWORD", valueFrom: {secretKeyRef: {name: "s", key: "k"}}}]'
    refused 'leave shareProcessNamespace out' create r6 '.spec.shareProcessNamespace = true'
    refused 'with which a container would log in without the sidecar' create r7 '.spec.volumes = [{name: "mine", projected: {sources: [{serviceAccountToken: {audience: "warehouse", path: "t"}}]}}]'
    refused 'is the sidecar'"'"'s alone' create r8 '.spec.containers[0].volumeMounts = [{name: "tollhouse-tokens", mountPath: "/t"}]'
    # A debugger that reaches for the token.
    local patch='{"spec":{"ephemeralContainers":[{"name":"debugger","image":"a","targetContainerName":"dbt","volumeMounts":[{"name":"tollhouse-tokens","mountPath":"/t"}]}]}}'
    refused 'container debugger mounts tollhouse-tokens' k patch pod plain --namespace dbt --subresource=ephemeralcontainers --patch "$patch"
    ok refusals
}

# The sidecar's program, from the ConfigMap and with the token that the kubelet would have asked for, lets dbt's client in.
sidecar_serves() {
    local at=$scratch/pod uid
    mkdir -p "$at/etc/policy" "$at/tokens" "$at/podinfo" "$at/audit"
    chmod 0700 "$at/audit"
    uid=$(k get pod plain --namespace dbt --output 'jsonpath={.metadata.uid}')
    k create token dbt-runner --namespace dbt --audience warehouse --bound-object-kind Pod --bound-object-name plain --bound-object-uid "$uid" >"$at/tokens/warehouse"
    printf 'app="dbt"\n' >"$at/podinfo/labels"
    k get configmap tollhouse-analytics --namespace dbt --output json >"$scratch/config-map.json"
    jq --raw-output '.data["policy.yaml"]' "$scratch/config-map.json" >"$at/etc/policy/policy.yaml"
    jq --raw-output '.data["warehouse-ca.crt"]' "$scratch/config-map.json" >"$at/etc/warehouse-ca.crt"
    jq --raw-output '.data["tollhouse.yaml"]' "$scratch/config-map.json" |
        sed -e "s#/var/run/secrets/tollhouse#$at/tokens#" -e "s#/etc/podinfo#$at/podinfo#" -e "s#/etc/tollhouse#$at/etc#" \
            -e "s#/var/lib/tollhouse/audit#$at/audit#" -e "s#/var/run/secrets/kubernetes.io/serviceaccount/ca.crt#$scratch/pki/ca.crt#" \
            -e "s#127.0.0.1:15432#127.0.0.1:$TOLLHOUSE_PORT#" -e "s#0.0.0.0:15020#127.0.0.1:$TOLLHOUSE_ADMIN_PORT\n  loopback_address: 127.0.0.1:$TOLLHOUSE_LOOPBACK_PORT#" >"$at/etc/tollhouse.yaml"
    TOLLHOUSE_CONFIG=$at/etc/tollhouse.yaml start_sidecar
    [[ $(psql_through --tuples-only --no-align --command='select current_user') == dbt_runner ]] || fail "the client did not get in"
    refused 'no rule allows create on demo.public.t' psql_through --command='create table public.t (a int)'
    "$tollhouse" audit tail --directory "$at/audit" --format json --lines 100 >"$scratch/tail.json"
    grep -q 'system:serviceaccount:dbt:dbt-runner' "$scratch/tail.json" || fail "the audit log does not name the service account: $(head -c 600 "$scratch/tail.json")"
    stop_sidecar
    ok "sidecar: a token of TokenRequest was verified by the cluster's keys"
}

burst() {
    local line
    k get pod plain --namespace dbt --output json >"$scratch/plain.json"
    pod burst >"$scratch/burst.json"
    line=$(tests/kubernetes/burst.py "$issuer" "$scratch/pki/ca.crt" "$scratch/pki/admin.token" dbt "$scratch/burst.json" 200) || fail "burst: $line"
    ok "burst: $line"
    curl --silent --fail "http://127.0.0.1:$metrics_port/metrics" | sed -n 's/^tollhouse_injections_total{outcome="injected",reason="bound"} /   pods injected so far: /p'
    k get --raw /metrics | grep '^apiserver_admission_webhook_admission_duration_seconds_\(sum\|count\){.*tollhouse' |
        awk '{ match($1, /name="[^"]*"/); name = substr($1, RSTART + 6, RLENGTH - 7); if ($1 ~ /_sum/) sum[name] += $2; else count[name] += $2 }
             END { for (name in sum) printf "   %s: %d calls, %.1f ms each as the API server saw it\n", name, count[name], 1000 * sum[name] / count[name] }'
}

# Without the webhook nothing starts in namespaces that opted in, and everything elsewhere.
webhook_down() {
    kill -STOP "$1"
    refused 'failed calling webhook' create down
    kill -CONT "$1"
    kill "$1"
    wait "$1" || fail "the webhook did not exit with 0"
    refused 'failed calling webhook' create down
    create meanwhile '.metadata.namespace = "other" | .spec.serviceAccountName = "default"' >/dev/null
    ok webhook-down
}

serial() { openssl s_client -connect "127.0.0.1:$webhook_port" </dev/null 2>/dev/null | openssl x509 -noout -serial; }

# Two replicas over one Secret, with certificates that live for 30 s: pods are made all the while, each behind a certificate that the
# API server trusts.
rotation() {
    local first port=$1 made=0 second_port
    k patch secret tollhouse-webhook --namespace tollhouse --type=json --patch '[{"op":"remove","path":"/data"}]' >/dev/null
    start_webhook short 30s "$port"
    first=$(serial)
    start_webhook replica 30s
    second_port=$webhook_port webhook_port=$port
    [[ $(webhook_port=$second_port serial) == "$first" ]] || fail "the replicas show different certificates"
    local end=$((SECONDS + 50))
    while ((SECONDS < end)); do
        create "rotated-$made" >/dev/null
        made=$((made + 1))
        sleep 1
    done
    [[ $(serial) != "$first" ]] || fail "the certificate was not renewed"
    [[ $(webhook_port=$second_port serial) == $(serial) ]] || within 5 same_serial "$second_port"
    ok "rotation: $made pods made while certificates of 30 s were renewed"
}
same_serial() { [[ $(webhook_port=$1 serial) == $(serial) ]]; }

# An API server whose etcd is gone takes minutes to end.
cluster_close() {
    local status=$?
    [[ -z $apiserver_pid ]] || kill -KILL "$apiserver_pid"
    set +e
    (exit "$status")
    stage_close
}

stage_open
trap cluster_close EXIT
apiserver_pid=''
start_dev
start_warehouse
# The warehouse takes a password from the sidecar: which credential is exchanged is not what this is about.
openssl rand -hex 16 >"$scratch/warehouse-password"
sed -i '1i hostssl all dbt_runner 127.0.0.1/32 scram-sha-256' "$scratch/warehouse/data/pg_hba.conf"
(cd / && psql --no-psqlrc --quiet --host="$WAREHOUSE_SOCKET" --port="$WAREHOUSE_PORT" --username=postgres --dbname=demo \
    --command="alter role dbt_runner password '$(cat "$scratch/warehouse-password")'; select pg_reload_conf()" >/dev/null)
make_certificates
start_cluster
definitions
start_controller_manager
port=$(free_port)
certificate_made "$port"
webhook_pid=${others[-1]}
controller_compiles
within 30 k get serviceaccount default --namespace other
injected
left_alone
refusals
sidecar_serves
burst
webhook_down "$webhook_pid"
rotation "$port"
