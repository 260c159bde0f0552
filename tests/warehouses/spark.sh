#!/usr/bin/env bash
# Starts and stops Spark's real Thrift server over HTTPS, as pyspark's package has it, with a metastore of its own. It asks for a
# name and a password and takes any: what a client is logged in as, it says itself. It needs Java 17.
# Usage: tests/warehouses/spark.sh install | start DIRECTORY PORT DEV_DIRECTORY | stop DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/../.."

SPARK_HOME=$PWD/$(compgen -G '.cache/spark-venv/lib/python3*/site-packages/pyspark' || true)
export SPARK_HOME

install() { tests/setup.sh spark; }

# A Java that Spark 3.5 runs on: JAVA_HOME's, or one that Debian's packages have put in place.
java_home() {
    local candidate
    for candidate in ${JAVA_HOME:+"$JAVA_HOME"} $(compgen -G '/usr/lib/jvm/*'); do
        if [[ -x $candidate/bin/java && $("$candidate/bin/java" -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p') == 17 ]]; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    echo "Spark 3.5 needs Java 17; set JAVA_HOME" >&2
    return 1
}

start() {
    local directory=$1 port=$2 dev=$3
    JAVA_HOME=$(java_home)
    export JAVA_HOME
    mkdir -p "$directory"
    openssl pkcs12 -export -inkey "$dev/warehouse/server.key" -in "$dev/warehouse/server.crt" -out "$directory/server.p12" -passout pass:changeit
    (
        cd "$directory"
        exec "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.SparkSubmit \
            --class org.apache.spark.sql.hive.thriftserver.HiveThriftServer2 --master 'local[2]' --driver-memory 1g \
            --conf spark.ui.enabled=false --conf spark.sql.shuffle.partitions=2 --conf "spark.sql.warehouse.dir=$directory/tables" \
            --conf "spark.driver.extraJavaOptions=-Dderby.system.home=$directory" spark-internal \
            --hiveconf hive.server2.transport.mode=http --hiveconf hive.server2.thrift.bind.host=localhost \
            --hiveconf "hive.server2.thrift.http.port=$port" --hiveconf hive.server2.thrift.http.path=sql/protocolv1/o/0/demo \
            --hiveconf hive.server2.use.SSL=true --hiveconf "hive.server2.keystore.path=$directory/server.p12" \
            --hiveconf hive.server2.keystore.password=changeit --hiveconf hive.server2.authentication=NONE \
            --hiveconf "javax.jdo.option.ConnectionURL=jdbc:derby:;databaseName=$directory/metastore;create=true"
    ) >"$directory/server.log" 2>&1 &
    echo $! >"$directory/pid"
    for _ in $(seq 120); do
        if grep --quiet 'HiveThriftServer2 started' "$directory/server.log"; then return 0; fi
        kill -0 "$(cat "$directory/pid")" 2>/dev/null || break
        sleep 1
    done
    tail -n 40 "$directory/server.log" >&2
    return 1
}

stop() {
    [[ ! -e $1/pid ]] || kill "$(cat "$1/pid")" 2>/dev/null || true
}

"$@"
