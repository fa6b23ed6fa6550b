#!/usr/bin/env bash
# Install the node into .venv beside the sources; further words are extras, such as `deploy/install.sh test`.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    apt-get update -qq && apt-get install -y -qq python3-venv
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
extras=$(IFS=,; echo "$*")
.venv/bin/pip install -q --disable-pip-version-check -c deploy/constraints.txt -e ".${extras:+[$extras]}"
