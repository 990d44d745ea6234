#!/usr/bin/env bash
# Installs what is missing, builds into build/ and runs the tests, leaving out those that take minutes (label "long"),
# need Python packages (label "reference") or a GPU (label "gpu"; see launch/gpu_check.sh). Ends with ctest's summary; exit
# status 0 if every test passed.
set -euo pipefail
cd "$(dirname "$0")/.."

launch/install.sh
cmake --preset release
cmake --build build
# One thread a test: tests run side by side, and some of them are several ranks.
jobs=$(($(nproc) < 2 ? 1 : 2))
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} ctest --preset default --parallel "$jobs"
