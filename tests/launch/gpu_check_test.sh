#!/usr/bin/env bash
# launch/gpu_check.sh with programs that only pretend: what it runs, what it records and how it ends.
#   gpu_check_test.sh SCRIPT
set -euo pipefail
script=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset CUDA_HOME CUDA_PATH TOLLER_CUBLASLT TOLLER_NCCL

pretend() {  # FILE, its text on standard input
  mkdir -p "$(dirname "$1")"
  { echo '#!/usr/bin/env bash'; cat; } >"$1"
  chmod +x "$1"
}
pretend path/nvidia-smi <<'TEXT'
case "$*" in
  *--query-gpu*) echo 'Some "GPU", 580.1, 80 GiB, 9.0, 1980 MHz, 700 W' ;;
  *) echo '| Driver Version: 580.1  CUDA Version: 13.0 |' ;;
esac
TEXT
pretend path/compute-sanitizer <<'TEXT'
echo "sanitizer $*"
TEXT
pretend path/python3 <<'TEXT'
case "$*" in
  *site*) echo "$PACKAGES" ;;
  *--self-test*) echo 'self-test passed' ;;
  *pytorch_step.py*) printf '{\n"benchmarks": []\n}\n' >"${@: -1}" ;;
esac
TEXT
pretend build/bin/test_gpu <<'TEXT'
echo "LD_LIBRARY_PATH=$LD_LIBRARY_PATH cublaslt=$TOLLER_CUBLASLT nccl=$TOLLER_NCCL"
TEXT
for program in kernels step; do
  pretend build/bin/bench_cuda_$program <<'TEXT'
for argument; do
  if [[ $argument == --benchmark_out=* ]]; then printf '{\n"benchmarks": [1]\n}\n' >"${argument#*=}"; fi
done
TEXT
done
mkdir -p build/lib packages/nvidia/{cublas,nccl}/lib
touch packages/nvidia/cublas/lib/libcublasLt.so.12 packages/nvidia/nccl/lib/libnccl.so.2
export PATH=$folder/path:$PATH PACKAGES=$folder/packages CUDA_HOME=$folder/cuda

fail() { echo "$1" >&2; cat log gpu_check.json >&2; exit 1; }
check() { "$script" --build build --commit abc "$@" >log 2>&1; }
holds() { jq -e "$1" gpu_check.json >/dev/null || fail "not so: $1"; }

check || fail 'everything passes, but not the check'
holds '.passed and .commit == "abc" and .gpus[0].name == "Some \"GPU\"" and .cuda_of_driver == "13.0"'
holds '[.parts[].status] | all(. == "passed")'
holds '[.parts[] | "\(.part) \(.name)"] == ["tests test_gpu", "sanitizer memcheck test_gpu",
  "sanitizer racecheck test_gpu", "kernels bench_cuda_kernels", "step bench_cuda_step", "pytorch self-test",
  "pytorch step"]'
holds '[.parts[] | select(.results != null).part] == ["kernels", "step", "pytorch"]'
if ! compgen -G '/usr/local/cuda/lib64/libcublasLt.so.*' >/dev/null; then
  holds '.parts[0].detail | contains("/build/lib:") and contains("cublaslt=") and contains("/libcublasLt.so.12 ")'
fi

check --parts tests,kernels || fail 'two parts'
holds '[.parts[].part] == ["tests", "kernels"]'

"$script" --build build --dry-run >log 2>&1 || fail 'the dry run'
grep -q 'kernels: bench_cuda_kernels' log || fail 'the dry run does not say what it would do'

# One part fails with text that JSON must escape, one half writes its results, one is not there, one has no end.
pretend build/bin/test_gpu_broken <<'TEXT'
printf 'a "quoted" \\ line\n\ttab \001\377\n'; exit 1
TEXT
pretend build/bin/bench_cuda_kernels <<'TEXT'
for argument; do
  if [[ $argument == --benchmark_out=* ]]; then printf '{\n"benchmarks": [' >"${argument#*=}"; fi
done
exit 1
TEXT
rm build/bin/bench_cuda_step path/compute-sanitizer
pretend path/python3 <<'TEXT'
case "$*" in *--self-test*) exec sleep 60 ;; esac
TEXT
status=0
check --time-limit 3 || status=$?
((status == 1)) || fail "exit status $status, not 1"
holds '.passed | not'
holds '[.parts[] | "\(.name) \(.status)"] - ["memcheck test_gpu passed", "racecheck test_gpu passed"] |
  .[:2] == ["test_gpu passed", "test_gpu_broken failed"] and .[-4:] == ["bench_cuda_kernels failed", "step missing",
  "self-test timeout", "step timeout"]'
holds '[.parts[] | select(.name == "test_gpu_broken")][0].detail == "exit status 1\na \"quoted\" \\ line\n\ttab "'
holds '[.parts[] | select(.part == "kernels")][0].results == null'

for wrong in '--parts nothing' '--time-limit never' '--what'; do
  status=0
  # shellcheck disable=SC2086
  "$script" $wrong >log 2>&1 || status=$?
  ((status == 2)) || fail "$wrong: exit status $status, not 2"
done
