#!/usr/bin/env bash
# Starts and stops a real Trino with the memory connector: HTTPS with JWT authentication for the sidecar, and a plain port on
# loopback to compare with. The server comes from Maven Central, once, into .cache/trino; it needs Java 24 or later.
# Usage: tests/warehouses/trino.sh install | start DIRECTORY HTTPS_PORT PLAIN_PORT DEV_DIRECTORY JWKS_URL ISSUER | stop DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/../.."

version=476
home=.cache/trino/trino-server-$version

install() {
    [[ ! -e $home/installed ]] || return 0
    mkdir -p .cache/trino
    mvn --quiet --batch-mode org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
        -Dartifact="io.trino:trino-server:$version:tar.gz" -DoutputDirectory="$PWD/.cache/trino"
    # Of the connectors, only the one that is used: most of the archive is the others.
    tar -xzf ".cache/trino/trino-server-$version.tar.gz" -C .cache/trino --exclude='*/plugin/*'
    tar -xzf ".cache/trino/trino-server-$version.tar.gz" -C .cache/trino --wildcards '*/plugin/memory/*'
    rm ".cache/trino/trino-server-$version.tar.gz"
    touch "$home/installed"
}

# A Java that is new enough: JAVA_HOME's, or the newest that Debian's or Temurin's packages have put in place.
java_home() {
    local candidate
    for candidate in ${JAVA_HOME:+"$JAVA_HOME"} $(compgen -G '/usr/lib/jvm/*' | sort -rV); do
        if [[ -x $candidate/bin/java ]] && [[ $("$candidate/bin/java" -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p') -ge 24 ]]; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    echo "Trino $version needs Java 24 or later; set JAVA_HOME" >&2
    return 1
}

start() {
    local directory=$1 https_port=$2 plain_port=$3 dev=$4 jwks=$5 issuer=$6 java
    java=$(java_home)
    mkdir -p "$directory/etc/catalog" "$directory/data"
    cat "$dev/warehouse/server.key" "$dev/warehouse/server.crt" >"$directory/etc/server.pem"
    "$java/bin/keytool" -importcert -noprompt -alias dev -file "$dev/ca.crt" -keystore "$directory/etc/trust.p12" \
        -storetype PKCS12 -storepass changeit >/dev/null 2>&1
    cat >"$directory/etc/config.properties" <<PROPERTIES
coordinator=true
node-scheduler.include-coordinator=true
node.environment=test
discovery.uri=http://127.0.0.1:$plain_port
http-server.http.port=$plain_port
http-server.https.enabled=true
http-server.https.port=$https_port
http-server.https.keystore.path=$directory/etc/server.pem
http-server.authentication.allow-insecure-over-http=true
http-server.authentication.type=JWT
http-server.authentication.jwt.key-file=$jwks
http-server.authentication.jwt.required-issuer=$issuer
http-server.authentication.jwt.required-audience=warehouse
http-server.authentication.jwt.user-mapping.pattern=system:serviceaccount:demo:(.*)
internal-communication.shared-secret=$(head -c 32 /dev/urandom | base64 --wrap=0)
query.max-memory=200MB
PROPERTIES
    printf 'node.environment=test\nnode.id=one\nnode.data-dir=%s\n' "$directory/data" >"$directory/etc/node.properties"
    printf 'connector.name=memory\n' >"$directory/etc/catalog/memory.properties"
    printf 'io.trino=INFO\n' >"$directory/etc/log.properties"
    cp tests/warehouses/trino/jvm.config "$directory/etc/jvm.config"
    printf -- '-Djavax.net.ssl.trustStore=%s\n-Djavax.net.ssl.trustStorePassword=changeit\n' "$directory/etc/trust.p12" >>"$directory/etc/jvm.config"
    PATH=$java/bin:$PATH JAVA_HOME=$java "$home/bin/launcher" start --etc-dir="$directory/etc" >"$directory/launcher.log" 2>&1
    for _ in $(seq 120); do
        if curl --silent --max-time 2 "http://127.0.0.1:$plain_port/v1/info" 2>/dev/null | grep --quiet '"starting":false'; then return 0; fi
        sleep 1
    done
    tail -n 40 "$directory/data/var/log/server.log" >&2
    return 1
}

stop() {
    [[ -d $1 ]] || return 0
    local java
    java=$(java_home)
    PATH=$java/bin:$PATH "$home/bin/launcher" kill --etc-dir="$1/etc" >/dev/null 2>&1 || true
}

"$@"
