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

# audited FILTER: the jq filter holds for the session record of some execution in the audit log, which verifies.
audited() {
    verify_audit >/dev/null
    "$tollhouse" audit tail --directory "$TOLLHOUSE_AUDIT_DIRECTORY" --format json --lines 1000 | jq --raw-output .id >"$scratch/records"
    local id
    while read -r id; do
        "$tollhouse" audit show --directory "$TOLLHOUSE_AUDIT_DIRECTORY" --format json "$id"
    done <"$scratch/records" | jq .session >"$scratch/sessions.json"
    jq --slurp --exit-status "any(.[]; $1)" "$scratch/sessions.json" || { cat "$scratch/sessions.json"; return 1; }
}

# logged LOG TEXT: the program said it.
logged() {
    grep --fixed-strings --quiet -- "$2" "$scratch/$1.log" || { echo "$1 never said: $2"; return 1; }
}

# secret_nowhere FILE...: no line of the files stands in a log of the sidecar, or in the audit log.
secret_nowhere() {
    local found
    cat "$@" | grep --invert-match -e '-----' | awk 'length >= 8' >"$scratch/bed-secrets"
    [[ -s $scratch/bed-secrets ]] || { echo "there is no secret to look for"; return 1; }
    if found=$(grep --recursive --files-with-matches --text --fixed-strings --exclude=signing-key.pem --file="$scratch/bed-secrets" \
        "$TOLLHOUSE_AUDIT_DIRECTORY" "$scratch/sidecar.log"); then
        echo "a secret stands in $found"
        return 1
    fi
}
