#!/usr/bin/env bash
# Installs what is missing, builds into build/ and runs the tests, leaving out those that take minutes (label "long")
# or need Python packages (label "reference"). Ends with ctest's summary; exit status 0 if every test passed.
set -euo pipefail
cd "$(dirname "$0")/.."

launch/install.sh
# OpenBLAS and OpenMP would otherwise start a thread a core in each of the tests that run side by side.
jobs=$(($(nproc) < 2 ? 1 : 2))
cmake --preset release
cmake --build build
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} ctest --preset default --parallel "$jobs"
