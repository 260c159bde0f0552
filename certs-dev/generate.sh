#!/bin/sh
# Writes development certificates to certs-dev/out. Further arguments go to `tollhouse dev`, such as --hostname NAME.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
exec "${TOLLHOUSE:-tollhouse}" dev --directory "$here/out" --once "$@"
