#!/usr/bin/env bash
# A kube-apiserver and its etcd on loopback, until the script ends.
#   apiserver.sh start KUBE_APISERVER DIRECTORY    DIRECTORY/ready is there once it answers, DIRECTORY/kubeconfig is the administrator's
set -euo pipefail
[[ $# -eq 3 && $1 == start ]] || { sed -n '2,3s/^# \{0,1\}//p' "$0" >&2; exit 2; }
apiserver=$2 directory=$3

mkdir -p "$directory"
read -r clients peers secure < <(python3 - <<'PY'
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(server.getsockname()[1] for server in held))
PY
)
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
trap 'exit 0' INT TERM

openssl genrsa -out "$directory/accounts.key" 2048 2>/dev/null
token=$(openssl rand -hex 24)
printf '%s,admin,admin,"system:masters"\n' "$token" >"$directory/tokens.csv"
etcd --data-dir "$directory/etcd" --listen-client-urls "http://127.0.0.1:$clients" --advertise-client-urls "http://127.0.0.1:$clients" \
    --listen-peer-urls "http://127.0.0.1:$peers" --unsafe-no-fsync >"$directory/etcd.log" 2>&1 &
"$apiserver" --etcd-servers="http://127.0.0.1:$clients" --bind-address=127.0.0.1 --secure-port="$secure" --cert-dir="$directory/pki" \
    --authorization-mode=RBAC --token-auth-file="$directory/tokens.csv" --service-cluster-ip-range=10.0.0.0/24 \
    --service-account-issuer=https://localhost --service-account-key-file="$directory/accounts.key" \
    --service-account-signing-key-file="$directory/accounts.key" --endpoint-reconciler-type=none >"$directory/apiserver.log" 2>&1 &
for _ in $(seq 1200); do
    ! curl --silent --fail --insecure --max-time 2 --output /dev/null "https://127.0.0.1:$secure/readyz" || break
    sleep 0.1
done
cat >"$directory/kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: here
clusters: [{ name: here, cluster: { server: "https://127.0.0.1:$secure", certificate-authority: "$directory/pki/apiserver.crt" } }]
users: [{ name: admin, user: { token: "$token" } }]
contexts: [{ name: here, context: { cluster: here, user: admin } }]
YAML
touch "$directory/ready"
wait
