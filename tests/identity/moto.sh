#!/usr/bin/env bash
# AWS as moto plays it: keys of a role for the pod's token (STS AssumeRoleWithWebIdentity), an RDS token that is byte for byte
# botocore's, a Redshift user with its password (GetClusterCredentials, signed), and a role as the identity, whose token
# (GetWebIdentityToken, signed) the account's published keys bear out; each shown to a PostgreSQL.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/setup.sh moto
source tests/identity/bed.sh

start_aws() {
    local port
    port=$(free_port) judge_port=$(free_port)
    issuer_port=$(free_port)
    export AWS_URL=http://127.0.0.1:$port AWS_ISSUER=http://127.0.0.1:$issuer_port
    start_other aws "$python" tests/identity/aws.py --port "$port" --judge-port "$judge_port" --database-port "$warehouse_port" \
        --issuer-port "$issuer_port" --issuer "$TOLLHOUSE_DEV_URL/kubernetes" --ca "$TOLLHOUSE_DEV_DIR/ca.crt" --ready "$scratch/aws-ready"
    wait_for moto "${others[-1]}" test -e "$scratch/aws-ready"
}

# The steps that fail are these, of these targets, and no other.
doctor_names_the_steps() {
    ! "$tollhouse" doctor --config "$TOLLHOUSE_CONFIG" --output json >"$scratch/doctor.json" || { echo "the doctor finds nothing"; return 1; }
    jq --exit-status '[.[] | select(.verdict == "failed" and .part != "login") | "\(.target): \(.part)"]
        == ["bystander: credential[1] redshift_credentials", "no-cluster: credential[1] redshift_credentials", "bystander-role: identity"]' "$scratch/doctor.json" ||
        { cat "$scratch/doctor.json"; return 1; }
}

stage_open
TOLLHOUSE_AUDIENCE=sts.amazonaws.com start_dev
start_warehouse
start_aws
judge_logins "$judge_port" rds_runner IAMA:etl by-role

ROLE_PORT=$(free_port) BYSTANDER_ROLE_PORT=$(free_port) REDSHIFT_PORT=$(free_port) BYSTANDER_PORT=$(free_port) NO_CLUSTER_PORT=$(free_port)
export ROLE_PORT BYSTANDER_ROLE_PORT REDSHIFT_PORT BYSTANDER_PORT NO_CLUSTER_PORT TOLLHOUSE_CONFIG=tests/identity/moto.yaml
# A role has no namespace in Kubernetes' sense, so its policy is the cluster's.
export CLUSTER_POLICY=$scratch/cluster-policy.yaml
sed -e 's/, namespace: demo//' -e 's/kind: WarehousePolicy/kind: ClusterWarehousePolicy/' tests/identity/policy.yaml >"$CLUSTER_POLICY"
start_sidecar
check rds-token logs_in_as "$TOLLHOUSE_PORT" rds_runner
check rds-token-is-botocores logged aws "login of rds_runner: accepted"
check web-identity logged aws "web identity accepted: system:serviceaccount:demo:dbt-runner"
check redshift-user logs_in_as "$REDSHIFT_PORT" IAMA:etl
check role-is-the-identity logs_in_as "$ROLE_PORT" by-role
check role-token-asked-for logged aws "web identity token for warehouse: arn:aws:iam::123456789012:role/dbt"
check role-without-the-right refused_with "$BYSTANDER_ROLE_PORT" "Reason token-not-minted"
check policy-of-the-role refused_with "$BYSTANDER_PORT" "credential[1] redshift_credentials"
check no-cluster refused_with "$NO_CLUSTER_PORT" "AWS has nothing of that name"
stop_sidecar
check doctor doctor_names_the_steps
check record audited '.role == "rds_runner" and .target.name == "rds"'
check record-of-the-role audited '.role == "by-role" and .principal.subject == "arn:aws:iam::123456789012:role/dbt" and .principal.proven_by == "aws"'
check record-of-the-named-user audited '.role == "IAMA:etl" and .target.name == "redshift"'
check secrets secret_nowhere "$TOLLHOUSE_DEV_DIR/token/token"
conclude
