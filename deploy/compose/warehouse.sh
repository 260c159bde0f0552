#!/usr/bin/env bash
# The warehouse of deploy/docker-compose.yaml: deploy/demo/warehouse.sh, held in the foreground.
set -euo pipefail
directory=/var/lib/warehouse issuer=/run/issuer

for _ in $(seq 300); do
    [[ ! -e $issuer/ready ]] || break
    sleep 0.1
done
[[ -e $issuer/ready ]] || { echo "warehouse: tollhouse dev wrote no certificates within 30 s" >&2; exit 1; }

if [[ -d $directory/data ]]; then
    /usr/local/bin/warehouse restart "$directory"
else
    /usr/local/bin/warehouse start "$directory" 5432 "$issuer"
fi
trap '/usr/local/bin/warehouse stop "$directory"; exit 0' INT TERM
echo "warehouse: PostgreSQL is there; it knows client certificates only"
# `wait` lets a signal in, `sleep` would not.
while kill -0 "$(head -n 1 "$directory/data/postmaster.pid")" 2>/dev/null; do
    sleep 1 &
    wait $!
done
echo "warehouse: PostgreSQL has ended" >&2
exit 1
