#!/usr/bin/env bash
# The main job from a fresh clone: install, then show everything on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/install.sh
exec .venv/bin/vb-node demo "$@"
