#!/usr/bin/env bash
# AWS as moto plays it: keys of a role for the pod's token (STS AssumeRoleWithWebIdentity), an RDS token that is byte for byte
# botocore's, and a Redshift user with its password (GetClusterCredentials, signed), each shown to a PostgreSQL.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/setup.sh moto
source tests/identity/bed.sh

start_aws() {
    local port
    port=$(free_port) judge_port=$(free_port)
    export AWS_URL=http://127.0.0.1:$port
    start_other aws "$python" tests/identity/aws.py --port "$port" --judge-port "$judge_port" --database-port "$warehouse_port" \
        --issuer "$TOLLHOUSE_DEV_URL/kubernetes" --ca "$TOLLHOUSE_DEV_DIR/ca.crt" --ready "$scratch/aws-ready"
    wait_for moto "${others[-1]}" test -e "$scratch/aws-ready"
}

# The steps that fail are these, of these targets, and no other.
doctor_names_the_steps() {
    ! "$tollhouse" doctor --config "$TOLLHOUSE_CONFIG" --output json >"$scratch/doctor.json" || { echo "the doctor finds nothing"; return 1; }
    jq --exit-status '[.[] | select(.verdict == "failed" and .part != "login") | "\(.target): \(.part)"]
        == ["bystander: credential[1] redshift_credentials", "no-cluster: credential[1] redshift_credentials"]' "$scratch/doctor.json" ||
        { cat "$scratch/doctor.json"; return 1; }
}

stage_open
TOLLHOUSE_AUDIENCE=sts.amazonaws.com start_dev
start_warehouse
start_aws
judge_logins "$judge_port" rds_runner IAMA:etl

REDSHIFT_PORT=$(free_port) BYSTANDER_PORT=$(free_port) NO_CLUSTER_PORT=$(free_port)
export REDSHIFT_PORT BYSTANDER_PORT NO_CLUSTER_PORT TOLLHOUSE_CONFIG=tests/identity/moto.yaml
start_sidecar
check rds-token logs_in_as "$TOLLHOUSE_PORT" rds_runner
check rds-token-is-botocores logged aws "login of rds_runner: accepted"
check web-identity logged aws "web identity accepted: system:serviceaccount:demo:dbt-runner"
check redshift-user logs_in_as "$REDSHIFT_PORT" IAMA:etl
check policy-of-the-role refused_with "$BYSTANDER_PORT" "credential[1] redshift_credentials"
check no-cluster refused_with "$NO_CLUSTER_PORT" "AWS has nothing of that name"
stop_sidecar
check doctor doctor_names_the_steps
check record audited '.role == "rds_runner" and .target.name == "rds"'
check record-of-the-named-user audited '.role == "IAMA:etl" and .target.name == "redshift"'
check secrets secret_nowhere "$TOLLHOUSE_DEV_DIR/token/token"
conclude
