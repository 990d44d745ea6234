#!/usr/bin/env bash
# Everything that needs a GPU, in one go and in under ten minutes: tests, compute-sanitizer, kernel and step benchmarks,
# the PyTorch counterpart. Writes one JSON of results. A part that fails does not stop the others; the exit status is 1
# when one did, 2 for wrong use.
#   launch/gpu_check.sh [option …]
#     --build DIR        a build folder with its programs in DIR/bin, as it is; libraries that the machine lacks may lie in
#                        DIR/lib. Without it, build-gpu/ is made first (CMake, nvcc and the packages of launch/install.sh);
#                        the ten minutes begin after that
#     --out FILE         the results (gpu_check.json)
#     --parts LIST       of tests,sanitizer,kernels,step,pytorch (all)
#     --time-limit N     seconds for all parts together (590)
#     --python PROGRAM   that has PyTorch (python3)
#     --commit TEXT      for the results, where the folder is no git repository
#     --memcheck-tests FILTER, --racecheck-tests FILTER
#                        tests to run under compute-sanitizer, as --gtest_filter takes them
#     --dry-run          say what would be run
# Parts: tests are the programs test_gpu*; one that is missing is a failure. sanitizer and pytorch are skipped where
# compute-sanitizer or PyTorch are not installed. cuBLASLt and NCCL are looked for in the CUDA folder (CUDA_HOME,
# CUDA_PATH, /usr/local/cuda), then among Python's packages (nvidia-cublas, nvidia-nccl-cu13, …), unless TOLLER_CUBLASLT
# and TOLLER_NCCL name them.
set -euo pipefail

usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "$0"; }
wrong_use() { printf 'gpu_check: %s; see --help\n' "$1" >&2; exit 2; }

command_line="$0 $*"
build='' out=gpu_check.json parts=tests,sanitizer,kernels,step,pytorch time_limit=590 python=python3 commit='' dry_run=false
memcheck_tests='-*Nccl*:*Watchdog*:*TrainingStep*:StagedCommunicator*:*LongAttention*'
racecheck_tests='Attention*:Fragment*:*ColumnSums*:*ResidualNorm*:*Embedding*:*Pooling*:*Statistics*:*SquaredNorm*'
while (($# > 0)); do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --dry-run) dry_run=true; shift; continue ;;
    --build | --out | --parts | --time-limit | --python | --commit | --memcheck-tests | --racecheck-tests) ;;
    *) wrong_use "unknown option $1" ;;
  esac
  (($# > 1)) || wrong_use "$1 needs a value"
  case $1 in
    --build) build=$(realpath -m "$2") ;;
    --out) out=$2 ;;
    --parts) parts=$2 ;;
    --time-limit) time_limit=$2 ;;
    --python) python=$2 ;;
    --commit) commit=$2 ;;
    --memcheck-tests) memcheck_tests=$2 ;;
    --racecheck-tests) racecheck_tests=$2 ;;
  esac
  shift 2
done
out=$(realpath -m "$out")
[[ $time_limit =~ ^[1-9][0-9]*$ ]] || wrong_use "--time-limit is '$time_limit', must be a number of seconds"
for part in ${parts//,/ }; do
  [[ ,tests,sanitizer,kernels,step,pytorch, == *,$part,* ]] || wrong_use "there is no part '$part'"
done
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
entries=()  # of the results, a JSON object each
failed=false
started=$(date --iso-8601=seconds)
begin=$SECONDS

json_string() {
  local text
  text=$(printf '%s' "$1" | iconv -c -f utf-8 -t utf-8 | tr -d '\000-\010\013\014\016-\037')
  text=${text//\\/\\\\} text=${text//\"/\\\"} text=${text//$'\n'/\\n} text=${text//$'\t'/\\t} text=${text//$'\r'/\\r}
  printf '"%s"' "$text"
}

# gpus: a JSON array, from nvidia-smi.
gpus() {
  local separator='' name driver memory capability clock power
  printf '['
  while IFS=, read -r name driver memory capability clock power; do
    printf '%s{"name": %s, "driver": %s, "memory": %s, "compute_capability": %s, "max_clock": %s, "power_limit": %s}' \
      "$separator" "$(json_string "$name")" "$(json_string "${driver# }")" "$(json_string "${memory# }")" \
      "$(json_string "${capability# }")" "$(json_string "${clock# }")" "$(json_string "${power# }")"
    separator=', '
  done < <(nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap,clocks.max.sm,power.limit \
    --format=csv,noheader 2>/dev/null)
  printf ']'
}

cuda_folders=("${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda)

# cuda_program NAME: where it is, or nothing.
cuda_program() {
  local folder
  command -v "$1" && return
  for folder in "${cuda_folders[@]}"; do
    if [[ -n $folder && -x $folder/bin/$1 ]]; then echo "$folder/bin/$1"; return; fi
  done
}

# cuda_library PATTERN: the newest such file of the CUDA folders, else of Python's packages, or nothing.
cuda_library() {
  local folder found
  for folder in "${cuda_folders[@]}"; do
    [[ -n $folder ]] || continue
    found=$(compgen -G "$folder/lib64/$1" | sort -V | tail -n 1) && [[ -n $found ]] && { echo "$found"; return; }
  done
  while read -r folder; do
    found=$(compgen -G "$folder/nvidia/*/lib/$1" | sort -V | tail -n 1) && [[ -n $found ]] && { echo "$found"; return; }
  done < <("$python" -c 'import site, sys; print("\n".join([*site.getsitepackages(), site.getusersitepackages(), *sys.path]))' \
    2>/dev/null)
  return 0
}

find_libraries() {
  local variable pattern folder
  for variable in TOLLER_CUBLASLT TOLLER_NCCL; do
    [[ $variable == TOLLER_NCCL ]] && pattern='libnccl.so.[0-9]*' || pattern='libcublasLt.so.[0-9]*'
    [[ -n ${!variable:-} ]] || export "$variable=$(cuda_library "$pattern")"
    if [[ -z ${!variable} ]]; then
      unset "$variable"  # Toller looks on the loader's path
      continue
    fi
    folder=$(dirname "${!variable}")
    library_path=$folder${library_path:+:$library_path}
    echo "$variable=${!variable}"
  done
  if [[ -d $build/lib ]]; then library_path=$build/lib${library_path:+:$library_path}; fi
}

write_report() {
  $dry_run && return
  local separator='' entry
  {
    printf '{\n"date": %s,\n"seconds": %d,\n"passed": %s,\n' "$(json_string "$started")" $((SECONDS - begin)) \
      "$($failed && echo false || echo true)"
    printf '"commit": %s,\n"command": %s,\n"host_name": %s,\n"processor": %s,\n' "$(json_string "$commit")" \
      "$(json_string "$command_line")" "$(json_string "$(uname -n)")" "$(json_string "$processor")"
    printf '"gpus": %s,\n"cuda_of_driver": %s,\n"nvcc": %s,\n' "$gpus" "$(json_string "$driver_cuda")" \
      "$(json_string "$nvcc_version")"
    printf '"cublaslt": %s,\n"nccl": %s,\n"build": %s,\n"parts": [' "$(json_string "${TOLLER_CUBLASLT:-}")" \
      "$(json_string "${TOLLER_NCCL:-}")" "$(json_string "$build")"
    for entry in ${entries[@]+"${entries[@]}"}; do
      printf '%s\n%s' "$separator" "$entry"
      separator=,
    done
    printf '\n]\n}\n'
  } >"$out.tmp"
  mv "$out.tmp" "$out"
}

# record PART NAME STATUS SECONDS COMMAND DETAIL [RESULTS]: STATUS is passed, failed, timeout, missing or skipped; RESULTS
# names a file of JSON, which is taken in when it is whole.
record() {
  local results=null
  [[ $3 == passed || $3 == skipped ]] || failed=true
  if [[ -n ${7:-} && -s ${7:-} && $(tail -n 1 "$7") == '}' ]]; then results=$(cat "$7"); fi
  entries+=("$(printf '{"part": %s, "name": %s, "status": %s, "seconds": %s, "command": %s, "detail": %s, "results": %s}' \
    "$(json_string "$1")" "$(json_string "$2")" "$(json_string "$3")" "$4" "$(json_string "$5")" "$(json_string "$6")" \
    "$results")")
  printf '   %s: %s (%s s)\n' "$2" "$3" "$4"
  if [[ $3 != passed ]]; then printf '   | %s\n' "${6//$'\n'/$'\n   | '}"; fi
  write_report
}

# run PART NAME LIMIT RESULTS COMMAND…: within LIMIT seconds, or what is left of all.
run() {
  local part=$1 name=$2 limit=$3 results=$4 log=$work/log status=0 from left word
  shift 4
  left=$((begin + time_limit - SECONDS))
  ((limit < left)) || limit=$left
  printf '== %s\n   %s\n' "$part: $name" "$*"
  $dry_run && return
  if ((limit <= 0)); then
    record "$part" "$name" timeout 0 "$*" "not begun: the $time_limit s of --time-limit are over"
    return
  fi
  rm -f "$results"
  from=$(date +%s%N)
  timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null || status=$?
  word=$((($(date +%s%N) - from) / 10000000))
  word=$((word / 100)).$(printf '%02d' $((word % 100)))
  case $status in
    0) record "$part" "$name" passed "$word" "$*" "$(grep -v '^[[:space:]]*$' "$log" | tail -n 1)" "$results" ;;
    124 | 137) record "$part" "$name" timeout "$word" "$*" "ended after $limit s"$'\n'"$(tail -n 40 "$log")" "$results" ;;
    *) record "$part" "$name" failed "$word" "$*" "exit status $status"$'\n'"$(tail -n 40 "$log")" "$results" ;;
  esac
}

# skip PART STATUS REASON: nothing to run.
skip() {
  printf '== %s: %s\n' "$1" "$3"
  $dry_run || record "$1" "$1" "$2" 0 '' "$3"
}

gpu_tests() { compgen -G "$build/bin/test_gpu*" || true; }

# Toller's own programs see the libraries that were found; Python has its own.
with_libraries=()

run_tests() {
  local program programs
  mapfile -t programs < <(gpu_tests)
  if ((${#programs[@]} == 0)); then skip tests missing "no program test_gpu* in $build/bin"; return; fi
  for program in "${programs[@]}"; do
    run tests "$(basename "$program")" 150 '' "${with_libraries[@]}" "$program" --gtest_brief=1
  done
}

run_sanitizer() {
  local sanitizer program programs
  sanitizer=$(cuda_program compute-sanitizer)
  mapfile -t programs < <(gpu_tests)
  if [[ -z $sanitizer ]]; then skip sanitizer skipped 'compute-sanitizer is not installed'; return; fi
  if ((${#programs[@]} == 0)); then skip sanitizer missing "no program test_gpu* in $build/bin"; return; fi
  # The sanitizer is to see where an array ends, not where a zone behind it does.
  local unguarded=("${with_libraries[@]}" TOLLER_TEST_GUARD_BYTES=0)
  for program in "${programs[@]}"; do
    run sanitizer "memcheck $(basename "$program")" 120 '' "${unguarded[@]}" "$sanitizer" --tool memcheck \
      --error-exitcode 3 "$program" --gtest_brief=1 "--gtest_filter=$memcheck_tests"
    run sanitizer "racecheck $(basename "$program")" 120 '' "${unguarded[@]}" "$sanitizer" --tool racecheck \
      --error-exitcode 3 "$program" --gtest_brief=1 "--gtest_filter=$racecheck_tests"
  done
}

run_benchmark() {  # PART PROGRAM LIMIT
  if [[ ! -x $build/bin/$2 ]] && ! $dry_run; then skip "$1" missing "$build/bin/$2 is not there"; return; fi
  run "$1" "$2" "$3" "$work/$1.json" "${with_libraries[@]}" "$build/bin/$2" "--benchmark_out=$work/$1.json" \
    --benchmark_out_format=json
}

run_pytorch() {
  if ! "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' >/dev/null 2>&1 && ! $dry_run; then
    skip pytorch skipped "$python has no PyTorch that finds a GPU"
    return
  fi
  run pytorch self-test 60 '' "$python" bench/pytorch_step.py --self-test --device cuda
  run pytorch step 240 "$work/pytorch.json" "$python" bench/pytorch_step.py --preset base --pairs 256 --mode all \
    --attention all --compile both --device cuda --out "$work/pytorch.json"
}

make_build() {
  build=$PWD/build-gpu
  echo "== build: $build"
  $dry_run && return
  cmake -S . -B "$build" -G Ninja -DTOLLER_CUDA=ON >"$work/build.log" 2>&1 &&
    cmake --build "$build" --target gpu_check_programs >>"$work/build.log" 2>&1 && return
  tail -n 40 "$work/build.log" >&2
  echo 'gpu_check: the build failed' >&2
  exit 1
}

if ! $dry_run && ! nvidia-smi -L >/dev/null 2>&1; then
  echo 'gpu_check: nvidia-smi finds no GPU' >&2
  exit 1
fi
[[ -n $commit ]] || commit=$(git describe --always --dirty 2>/dev/null) || commit=unknown
processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
gpus=$(gpus)
driver_cuda=$(nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9.]*\).*/\1/p' || true)
nvcc=$(cuda_program nvcc || true)
nvcc_version=$([[ -z $nvcc ]] || "$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
if [[ -z $build ]]; then make_build; fi
begin=$SECONDS
library_path=
find_libraries
with_libraries=(env "LD_LIBRARY_PATH=$library_path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}")

for part in ${parts//,/ }; do
  case $part in
    tests) run_tests ;;
    sanitizer) run_sanitizer ;;
    kernels) run_benchmark kernels bench_cuda_kernels 120 ;;
    step) run_benchmark step bench_cuda_step 150 ;;
    pytorch) run_pytorch ;;
  esac
done
$dry_run && exit 0
echo "$out: $($failed && echo 'something failed' || echo 'all passed') after $((SECONDS - begin)) s"
! $failed
