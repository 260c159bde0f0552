#!/usr/bin/env bash
# Starts a real ClickHouse server: Debian 12's, 18.16, which is old but ClickHouse's own HTTP interface. It is unpacked into
# .cache/clickhouse and not installed, so that no service starts; the libraries that it needs come with apt. Its process id is in DIRECTORY/pid.
# Usage: tests/warehouses/clickhouse.sh install | start DIRECTORY HTTPS_PORT PLAIN_PORT DEV_DIRECTORY PASSWORD_FILE
set -euo pipefail
cd "$(dirname "$0")/../.."

home=.cache/clickhouse

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

install() {
    [[ ! -e $home/installed ]] || return 0
    rm -rf "$home"
    mkdir -p "$home"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends clickhouse-common >&2
    (cd "$home" && apt-get download -qq -o APT::Sandbox::User=root clickhouse-server && dpkg-deb --extract clickhouse-server_*.deb . && rm ./*.deb)
    touch "$home/installed"
}

start() {
    local directory=$1 https_port=$2 plain_port=$3 dev=$4 password=$5
    mkdir -p "$directory"
    cat >"$directory/config.xml" <<CONFIG
<yandex>
    <logger><level>warning</level><log>$directory/server.log</log><errorlog>$directory/errors.log</errorlog></logger>
    <listen_host>127.0.0.1</listen_host>
    <http_port>$plain_port</http_port>
    <https_port>$https_port</https_port>
    <openSSL><server>
        <certificateFile>$dev/warehouse/server.crt</certificateFile>
        <privateKeyFile>$dev/warehouse/server.key</privateKeyFile>
        <verificationMode>none</verificationMode>
    </server></openSSL>
    <path>$directory/data/</path>
    <tmp_path>$directory/tmp/</tmp_path>
    <users_config>$directory/users.xml</users_config>
    <default_profile>default</default_profile>
    <default_database>default</default_database>
    <mark_cache_size>100000000</mark_cache_size>
    <query_log><database>system</database><table>query_log</table><flush_interval_milliseconds>100</flush_interval_milliseconds></query_log>
</yandex>
CONFIG
    cat >"$directory/users.xml" <<USERS
<yandex>
    <profiles><default><log_queries>1</log_queries></default></profiles>
    <users>
        <default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default>
        <dbt-runner>
            <password>$(cat "$password")</password>
            <networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
        </dbt-runner>
    </users>
    <quotas><default></default></quotas>
</yandex>
USERS
    "$home/usr/sbin/clickhouse-server" --config-file="$directory/config.xml" >"$directory/output.log" 2>&1 </dev/null &
    echo $! >"$directory/pid"
    for _ in $(seq 100); do
        if curl --silent --max-time 1 "http://127.0.0.1:$plain_port/ping" 2>/dev/null | grep --quiet Ok; then return 0; fi
        sleep 0.1
    done
    tail -n 40 "$directory"/*.log >&2
    return 1
}

"$@"
