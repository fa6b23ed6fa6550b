#!/usr/bin/env bash
# All checks from a fresh clone: Debian's tools, the package, style, types, tests. Words are handed to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

tools="dcmtk dicom3tools dcm2niix orthanc orthanc-dicomweb libpixelmed-java default-jdk-headless poppler-utils chromium postgresql"
# Node.js from wherever it is; Debian's where there is none
command -v node >/dev/null || tools="$tools nodejs"
command -v npm >/dev/null || tools="$tools npm"
if ! dpkg -s $tools >/dev/null 2>&1; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $tools
fi
deploy/install.sh test
tests/viewer/install.sh

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
# four at a time on two cores, for many wait; a file to a process, which keeps volumes and models; the long ones first
OMP_NUM_THREADS=1 .venv/bin/pytest -n 4 --dist loadfile --no-loadscope-reorder "$@"
