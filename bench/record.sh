#!/usr/bin/env bash
# Runs the benchmarks and records them: bench/results/<name>-ops.json and <name>-step.json, with the machine (as Google
# Benchmark describes it, and the processor's name), the commit and the command.
#   bench/record.sh NAME [benchmark flag …]        OMP_NUM_THREADS sets the threads (1 when unset), BENCH_PROGRAMS
#                                                  other programs ("loss")
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:?a name for the results, such as epyc-genoa-1-thread}
shift
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
commit=$(git describe --always --dirty)
for program in ${BENCH_PROGRAMS:-ops step}; do
  command="OMP_NUM_THREADS=$OMP_NUM_THREADS bench_$program $*"
  out=bench/results/$name-$program.json
  build/bin/bench_$program --benchmark_out="$out.tmp" --benchmark_out_format=json "$@"
  jq --arg processor "$processor" --arg commit "$commit" --arg command "$command" \
    '.context += {processor: $processor, commit: $commit, command: $command}' "$out.tmp" >"$out"
  rm "$out.tmp"
done
