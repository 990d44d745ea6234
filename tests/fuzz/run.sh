#!/usr/bin/env bash
# Builds the readers with Clang's sanitizers and tries them on inputs of libFuzzer's making.
#   tests/fuzz/run.sh [MINUTES]      for each of the seven kinds of input; default 10
# What makes a reader crash, run out of memory or hang is kept in build-fuzz/findings; inputs that reached something
# new are in build-fuzz/corpus, and fewest that reach the same go into tests/fuzz/corpus with --keep.
set -euo pipefail
cd "$(dirname "$0")/../.."

minutes=10 keep=false
for argument in "$@"; do
  case $argument in
    --keep) keep=true ;;
    --help | -h) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *[!0-9]* | '') sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    *) minutes=$argument ;;
  esac
done
command -v clang++ >/dev/null || { echo "tests/fuzz/run.sh wants clang++ with libFuzzer (Debian: clang)" >&2; exit 1; }

flags='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -g -O1'
cmake -B build-fuzz -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_CXX_FLAGS="$flags" \
  -DTOLLER_FUZZ=ON -DTOLLER_CUDA=OFF -DTOLLER_BENCH=OFF >/dev/null
ninja -C build-fuzz fuzz_checkpoint fuzz_store fuzz_collection fuzz_config fuzz_safetensors fuzz_pretrained fuzz_tokenizer

failed=0 memory=/tmp
[[ -d /dev/shm && -w /dev/shm ]] && memory=/dev/shm
for target in checkpoint store collection config safetensors pretrained tokenizer; do
  corpus=build-fuzz/corpus/$target seeds=tests/fuzz/corpus/$target findings=build-fuzz/findings/$target/
  mkdir -p "$corpus" "$findings"
  # Leaks are those of HDF5's own lists, which it keeps until the process ends. It also asks for memory of any size that a
  # file names, and copes where there is none; what is in use is limited.
  TMPDIR=$memory ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 OMP_NUM_THREADS=1 "build-fuzz/bin/fuzz_$target" -max_total_time=$((60 * minutes + 1)) \
    -rss_limit_mb=2048 -malloc_limit_mb=0 -timeout=20 -max_len=65536 -len_control=0 -print_final_stats=1 -artifact_prefix="$findings" \
    "$corpus" "$seeds" 2>"build-fuzz/$target.log" || failed=1
  grep -E 'stat::number_of_executed|ERROR|SUMMARY' "build-fuzz/$target.log" | sed "s/^/$target: /"
  if $keep; then "build-fuzz/bin/fuzz_$target" -merge=1 "$seeds" "$corpus" 2>/dev/null; fi
done
exit $failed
