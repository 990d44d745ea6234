#!/usr/bin/env bash
# Installs the packages that Toller is built with, on Debian 12 or newer and Ubuntu 22.04 or newer; only what is
# missing, so that a second run changes nothing and needs no rights.
#   launch/install.sh           install
#   launch/install.sh --check   say what is missing; exit status 1 if anything is
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config               # building
  openmpi-bin libopenmpi-dev                     # ranks
  libhdf5-openmpi-dev hdf5-tools                 # token stores and checkpoints; h5ls, h5diff
  libopenblas-openmp-dev                         # matrix products
  libboost-program-options-dev nlohmann-json3-dev libfmt-dev libspdlog-dev libxxhash-dev
  libicu-dev libsentencepiece-dev                # text
  zlib1g-dev libzstd-dev                         # compressed collections
  libgtest-dev libgmock-dev libbenchmark-dev librapidcheck-dev procps  # tests and benchmarks
  libboost-context-dev                           # tests that run CUDA kernels on the CPU
  wordnet-base                                   # the sample collection
  jq                                             # the quickstart's table
)

usage() { sed -n '2,5s/^# \{0,1\}//p' "$0"; }

check_only=false
case "${1:-}" in
  '') ;;
  --check) check_only=true ;;
  --help | -h) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  cat >&2 <<'TEXT'
launch/install.sh knows Debian and Ubuntu only. On another system install these yourself, then run cmake:
  a C++20 compiler (GCC 11+), CMake 3.22+, Ninja, pkg-config, Open MPI 4+, HDF5 1.10+ built for it, OpenBLAS,
  Boost.Program_options and Boost.Context 1.70+, ICU, sentencepiece, zlib, libzstd, nlohmann-json, fmt 8+, spdlog,
  xxHash, GoogleTest, Google Benchmark, RapidCheck, jq; and WordNet 3.0's database files for the sample collection.
TEXT
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done

if ((${#missing[@]} == 0)); then
  echo "All ${#packages[@]} packages are installed."
  exit 0
fi
echo "Missing: ${missing[*]}"
if $check_only; then exit 1; fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "Neither root nor sudo. Ask an administrator for: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
