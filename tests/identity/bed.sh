# shellcheck shell=bash
# What the beds of tests/identity.sh share, over deploy/demo/stage.sh. To be sourced from the repository's root.

source deploy/demo/stage.sh
python=.cache/identity/bin/python
# Who reaches the sidecar's port of a bed, and what it may do there, is not what the beds are about.
export TOLLHOUSE_POLICY=tests/identity/policy.yaml

administrator() {
    (cd / && psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 \
        --host="$WAREHOUSE_SOCKET" --port="$WAREHOUSE_PORT" --username=postgres --dbname=demo "$@")
}

# judge_logins PORT ROLE...: makes the roles, whose password PostgreSQL has judged by who listens at the port.
judge_logins() {
    local port=$1 role rules=$scratch/warehouse/data/pg_hba.conf
    shift
    for role in "$@"; do
        administrator --command="create role \"$role\" login"
        sed -i "1i hostssl all \"$role\" 127.0.0.1/32 ldap ldapserver=127.0.0.1 ldapport=$port ldapprefix=\"uid=\"" "$rules"
    done
    administrator --command="select pg_reload_conf()" >/dev/null
}

# start_judge ISSUER JWKS-URI AUDIENCE CLAIMS: tokens are passwords; CLAIMS is JSON, by role.
start_judge() {
    judge_port=$(free_port)
    start_other judge "$python" tests/identity/judge.py --port "$judge_port" --issuer "$1" --jwks-uri "$2" --audience "$3" --claims "$4" \
        --ca "$TOLLHOUSE_DEV_DIR/ca.crt" --ready "$scratch/judge-ready"
    wait_for "the judge" "${others[-1]}" test -e "$scratch/judge-ready"
}

# query PORT SQL: what a client of the sidecar gets, without any secret.
query() {
    psql --no-psqlrc --tuples-only --no-align --host=127.0.0.1 --port="$1" --username=anybody --dbname=demo --command="$2"
}

# logs_in_as PORT ROLE: the client gets through the sidecar's listener, and is that role at the warehouse.
logs_in_as() {
    local role
    role=$(query "$1" "select current_user")
    [[ $role == "$2" ]] || { echo "expected $2, got $role"; return 1; }
}

# refused_with PORT TEXT: the client does not get in, and what it is told has the text.
refused_with() {
    local said
    if said=$(query "$1" "select 1" 2>&1); then
        echo "the client got in: $said"
        return 1
    fi
    [[ $said == *"$2"* ]] || { echo "expected $2, got: $said"; return 1; }
}

# recorded FILTER...: each jq filter holds for some session record of the audit log.
